package page

import (
	"sync"
	"time"

	"balhost/host/internal/admin"
)

// fresh is how long one look at the host serves all who read pages. Parts are fetched every
// two seconds, so more readers cost the host nothing but the HTML.
const fresh = time.Second

// look is the host's state as the pages show it.
type look struct {
	ask func() admin.Status

	mu    sync.Mutex // guards what follows; held while the host is asked, so that it is asked once
	at    time.Time
	state admin.Status
}

// status is the host's state, at most a second old.
func (l *look) status() admin.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() || time.Since(l.at) >= fresh {
		l.state = l.ask()
		l.at = time.Now()
	}
	return l.state
}

// forget makes the next look a new one: something has changed.
func (l *look) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}
