// Package logs makes the loggers of host and plugins. They are hclog's, but write
// durations that people can read ("943ms"), in text and in JSON. hclog itself writes
// nanoseconds without a unit in JSON, and nine digits in text. Start at [New].
package logs

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// New is hclog.New with readable durations.
func New(o *hclog.LoggerOptions) hclog.Logger { return logger{hclog.New(o)} }

// logger replaces the durations in pairs before hclog gets them.
type logger struct{ hclog.Logger }

func (l logger) Log(level hclog.Level, msg string, pairs ...any) {
	l.Logger.Log(level, msg, readable(pairs)...)
}

func (l logger) Trace(msg string, pairs ...any) { l.Log(hclog.Trace, msg, pairs...) }
func (l logger) Debug(msg string, pairs ...any) { l.Log(hclog.Debug, msg, pairs...) }
func (l logger) Info(msg string, pairs ...any)  { l.Log(hclog.Info, msg, pairs...) }
func (l logger) Warn(msg string, pairs ...any)  { l.Log(hclog.Warn, msg, pairs...) }
func (l logger) Error(msg string, pairs ...any) { l.Log(hclog.Error, msg, pairs...) }

func (l logger) With(pairs ...any) hclog.Logger      { return logger{l.Logger.With(readable(pairs)...)} }
func (l logger) Named(name string) hclog.Logger      { return logger{l.Logger.Named(name)} }
func (l logger) ResetNamed(name string) hclog.Logger { return logger{l.Logger.ResetNamed(name)} }

// readable replaces the durations in a copy of pairs.
func readable(pairs []any) []any {
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

// Duration writes d with two or three digits, or whole seconds from a minute on:
// "12µs", "1.5ms", "943ms", "2.35s", "3m7s".
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
