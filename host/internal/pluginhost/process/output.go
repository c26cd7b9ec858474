package process

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
)

// How many bytes one plugin may log: in a second, and at once. A stack trace of all
// goroutines needs the latter. NewOutput limits the lines.
const (
	logRate  = 64 << 10
	logBurst = 4 << 20
)

// Output is a plugin's way into the host's log, shared by its processes. It
// bounds what one plugin can make the host write, and knows its own level.
type Output struct {
	log  hclog.Logger
	most int // lines in a second

	mu      sync.Mutex  // guards what follows
	level   hclog.Level // set by a person; NoLevel: the host's
	second  time.Time   // began then
	said    int         // lines in it
	bytes   *rate.Limiter
	dropped uint64 // since it was last told
}

// NewOutput makes one that logs most lines in a second.
func NewOutput(log hclog.Logger, most int) *Output {
	return &Output{log: log, most: most, bytes: rate.NewLimiter(logRate, logBurst)}
}

// say logs a line, unless there were too many.
func (o *Output) say(level hclog.Level, msg string, pairs ...any) {
	size := len(msg)
	for _, p := range pairs {
		if s, ok := p.(string); ok {
			size += len(s)
		}
	}
	floor, dropped, ok := o.admit(level, size, time.Now())
	if dropped > 0 {
		o.log.Warn("plugin printed too much: lines were dropped", "count", dropped)
	}
	if ok {
		o.log.Log(max(level, floor), msg, pairs...)
	}
}

// admit decides whether a line of size bytes is logged. It is logged with the level
// floor at least: a line that a person has asked for must pass the host's own level.
func (o *Output) admit(level hclog.Level, size int, now time.Time) (floor hclog.Level, dropped uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	host := o.log.GetLevel()
	if o.level == hclog.NoLevel && level < host || o.level != hclog.NoLevel && level < o.level {
		return 0, 0, false
	}
	if now.Sub(o.second) >= time.Second {
		o.second, o.said = now, 0
		dropped, o.dropped = o.dropped, 0
	}
	if o.said >= o.most || !o.bytes.AllowN(now, size) {
		o.dropped++
		return 0, dropped, false
	}
	o.said++
	return host, dropped, true
}

// Set changes the level; NoLevel for the host's.
func (o *Output) Set(level hclog.Level) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.level = level
}

// Level is the level that plugins are told.
func (o *Output) Level() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.level == hclog.NoLevel {
		return o.log.GetLevel().String()
	}
	return o.level.String()
}

// flush logs how many lines were dropped since that was last told. A process has ended.
func (o *Output) flush() {
	o.mu.Lock()
	dropped := o.dropped
	o.dropped = 0
	o.mu.Unlock()
	if dropped > 0 {
		o.log.Warn("plugin printed too much: lines were dropped", "count", dropped)
	}
}
