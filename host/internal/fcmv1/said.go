package fcmv1

import (
	"fmt"
	"sync"
	"time"
)

// quiet is for how long the same line is not logged again.
const quiet = 30 * time.Second

// said keeps log lines from repeating: each is logged once per 30 s, and then with the
// number of those that were left out.
type said struct {
	mu    sync.Mutex // guards lines
	lines map[string]*line
}

type line struct {
	at   time.Time
	kept int // left out since
}

// log logs message at level, unless it was logged lately. The last of pairs is the
// value of "err".
func (d *said) log(level func(string, ...any), message string, pairs ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines == nil {
		d.lines = map[string]*line{}
	}
	l := d.lines[message]
	if l == nil {
		l = &line{}
		d.lines[message] = l
	}
	if !l.at.IsZero() && time.Since(l.at) < quiet {
		l.kept++
		return
	}
	if l.kept > 0 {
		pairs[len(pairs)-1] = fmt.Sprintf("%v (and %d more of this kind since)", pairs[len(pairs)-1], l.kept)
	}
	l.at, l.kept = time.Now(), 0
	level(message, pairs...)
}
