package admin

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConns bounds the open connections. So nobody who can reach the address can use
// up the process's file descriptors.
const maxConns = 64

// limited is a listener with a limit of open connections. At the limit, a new
// connection replaces the least important one (see [limited.least]). So a probe or a
// command gets its answer, even when other clients hold idle connections or never
// finish a request.
type limited struct {
	net.Listener
	most int

	mu   sync.Mutex // guards the fields below, and those of each connection
	open map[*limitedConn]struct{}
}

func limit(l net.Listener, most int) *limited {
	return &limited{Listener: l, most: most, open: map[*limitedConn]struct{}{}}
}

// Accept waits for a connection and makes room for it.
func (l *limited) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: nc, of: l, state: http.StateNew, since: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) >= l.most {
		least := l.least()
		delete(l.open, least)
		least.Conn.Close() //nolint:errcheck // it is given up; net/http meets the error and ends it
	}
	l.open[c] = struct{}{}
	return c, nil
}

// least is the connection to close: first an idle one, then one whose request has not
// arrived yet, then one with a request being answered, of a stranger before one of the
// lowest role; among equals the one that has been in its state for the longest. So a
// stranger ends no backup. The caller holds mu.
func (l *limited) least() *limitedConn {
	var least *limitedConn
	for c := range l.open {
		if least == nil || c.rank() < least.rank() || c.rank() == least.rank() && c.since.Before(least.since) {
			least = c
		}
	}
	return least
}

// changed is net/http's ConnState hook.
func (l *limited) changed(nc net.Conn, state http.ConnState) {
	c := limitedOf(nc)
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.state, c.since = state, time.Now()
}

// limitedConn frees its place when it is closed.
type limitedConn struct {
	net.Conn
	of    *limited
	state http.ConnState
	since time.Time // in this state
	role  Role      // of who sent its last request
}

// belongs notes whose request the connection has.
func (c *limitedConn) belongs(to Role) {
	if c == nil {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.role = to
}

func (c *limitedConn) rank() int {
	switch c.state {
	case http.StateIdle:
		return 0
	case http.StateNew:
		return 1
	}
	return 2 + int(c.role)
}

func (c *limitedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
