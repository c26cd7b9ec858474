package page

import (
	"sync"
	"time"
)

// fresh is how long one look at the host serves all who read pages. Parts are fetched every
// two seconds, so more readers cost the host nothing but the HTML.
const fresh = time.Second

// look is something of the host as the pages show it.
type look[T any] struct {
	ask  func() T
	keep time.Duration // for how long; 0: fresh

	mu    sync.Mutex // guards what follows; held while the host is asked, so that it is asked once
	at    time.Time
	state T
}

// now is what the host said lately.
func (l *look[T]) now() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() || time.Since(l.at) >= max(l.keep, fresh) {
		l.state = l.ask()
		l.at = time.Now()
	}
	return l.state
}

// forget makes the next look a new one: something has changed.
func (l *look[T]) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}
