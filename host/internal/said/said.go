// Package said keeps log lines from repeating: each is logged once per 30 s, and then
// with the number of those that were left out. A peer that is in trouble causes the same
// line thousands of times a second. Start at [Lines].
package said

import (
	"fmt"
	"sync"
	"time"
)

// quiet is for how long the same line is not logged again.
const quiet = 30 * time.Second

// Lines are the lines that were logged. Its methods may be called from any goroutine.
type Lines struct {
	now func() time.Time

	mu    sync.Mutex // guards lines
	lines map[string]*line
}

type line struct {
	at   time.Time
	kept int // left out since
}

// New makes Lines with a clock.
func New(now func() time.Time) *Lines { return &Lines{now: now, lines: map[string]*line{}} }

// Log logs message at level, unless it was logged lately. The last of pairs is the
// value of "err".
func (l *Lines) Log(level func(string, ...any), message string, pairs ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	this := l.lines[message]
	if this == nil {
		this = &line{}
		l.lines[message] = this
	}
	now := l.now()
	if !this.at.IsZero() && now.Sub(this.at) < quiet {
		this.kept++
		return
	}
	if this.kept > 0 {
		pairs[len(pairs)-1] = fmt.Sprintf("%v (and %d more of this kind since)", pairs[len(pairs)-1], this.kept)
	}
	this.at, this.kept = now, 0
	level(message, pairs...)
}
