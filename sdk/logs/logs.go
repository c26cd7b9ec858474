// Package logs makes the loggers of host and plugins: hclog's, where a duration
// is for people ("943ms") in every format. hclog's JSON has nanoseconds without
// a unit, and its text nine digits. Start at [New].
package logs

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// New is hclog.New.
func New(o *hclog.LoggerOptions) hclog.Logger { return logger{hclog.New(o)} }

// logger rewrites the values of pairs on their way to hclog.
type logger struct{ hclog.Logger }

func (l logger) Log(level hclog.Level, msg string, pairs ...any) {
	l.Logger.Log(level, msg, told(pairs)...)
}

func (l logger) Trace(msg string, pairs ...any) { l.Log(hclog.Trace, msg, pairs...) }
func (l logger) Debug(msg string, pairs ...any) { l.Log(hclog.Debug, msg, pairs...) }
func (l logger) Info(msg string, pairs ...any)  { l.Log(hclog.Info, msg, pairs...) }
func (l logger) Warn(msg string, pairs ...any)  { l.Log(hclog.Warn, msg, pairs...) }
func (l logger) Error(msg string, pairs ...any) { l.Log(hclog.Error, msg, pairs...) }

func (l logger) With(pairs ...any) hclog.Logger      { return logger{l.Logger.With(told(pairs)...)} }
func (l logger) Named(name string) hclog.Logger      { return logger{l.Logger.Named(name)} }
func (l logger) ResetNamed(name string) hclog.Logger { return logger{l.Logger.ResetNamed(name)} }

// told replaces the durations, in a copy.
func told(pairs []any) []any {
	copied := false
	for i, p := range pairs {
		d, is := p.(time.Duration)
		if !is {
			continue
		}
		if !copied {
			pairs, copied = append([]any(nil), pairs...), true
		}
		pairs[i] = Duration(d)
	}
	return pairs
}

// Duration is d as precise as a person wants it: "12µs", "1.5ms", "943ms", "2.35s", "3m7s".
func Duration(d time.Duration) string {
	unit := time.Microsecond
	switch size := d.Abs(); {
	case size >= time.Minute:
		unit = time.Second
	case size >= time.Second:
		unit = 10 * time.Millisecond
	case size >= 10*time.Millisecond:
		unit = time.Millisecond
	case size >= time.Millisecond:
		unit = 100 * time.Microsecond
	case size < time.Microsecond:
		unit = 1
	}
	return d.Round(unit).String()
}
