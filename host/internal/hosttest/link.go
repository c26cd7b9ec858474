package hosttest

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/ccssim"
)

// Link is the network between one host and the servers. Its methods may be
// called from any goroutine. The servers' own faults are in ccssim and fcmsim; here
// are those of the bytes that the host writes.
type Link struct {
	server *ccssim.Server
	fcm    *Pipes

	mu   sync.Mutex // guards what follows
	open []*end     // the host's ends, oldest first
	down bool
}

// end is the host's end of one connection.
type end struct {
	net.Conn
	link *Link

	mu     sync.Mutex // guards what follows
	fuse   int        // bytes until the cut; negative: no cut is planned
	silent bool
	broken bool // by a silent cut
}

var errDown = errors.New("network is down")

// dial is ccs.Options.Dial.
func (l *Link) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	e, err := l.opened(ours)
	if err == nil {
		l.server.ServeConn(theirs)
	}
	return e, err
}

// dialFCM is fcmv1.Options.Dial.
func (l *Link) dialFCM(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, err := l.fcm.dial(ctx)
	if err != nil {
		return nil, err
	}
	return l.opened(ours)
}

// opened is the host's end of a new connection.
func (l *Link) opened(c net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		c.Close()
		return nil, errDown
	}
	e := &end{Conn: c, link: l, fuse: -1}
	l.open = append(l.open, e)
	return e, nil
}

// CutAfter breaks the i-th of the open connections, counted round, when the
// host has written n more bytes on it. A silent cut is noticed a little later:
// writes succeed until then, and are lost. False: nothing is open.
func (l *Link) CutAfter(i, n int, silent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == 0 {
		return false
	}
	e := l.open[i%len(l.open)]
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fuse, e.silent = n, silent
	return true
}

// sever breaks everything for good, at once: the host is dead.
func (l *Link) sever() {
	l.mu.Lock()
	l.down = true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, e := range open {
		e.Conn.Close()
	}
}

// silence is how long a silent cut goes unnoticed.
const silence = 700 * time.Millisecond

// Write is called by one goroutine at a time.
func (e *end) Write(p []byte) (n int, err error) {
	allowed, cut := e.burn(len(p))
	if allowed > 0 {
		if n, err = e.Conn.Write(p[:allowed]); err != nil {
			return n, err
		}
	}
	switch cut {
	case nil:
		return n, nil
	case errSilent:
		return len(p), nil
	}
	e.Conn.Close()
	return n, cut
}

var errSilent = errors.New("cut, and nobody knows")

// burn says how many of n bytes still pass, and what becomes of the others.
func (e *end) burn(n int) (allowed int, cut error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.broken:
		return 0, errSilent
	case e.fuse < 0:
		return n, nil
	case n <= e.fuse:
		e.fuse -= n
		return n, nil
	case e.silent:
		e.broken = true
		time.AfterFunc(silence, func() { e.Conn.Close() })
		return e.fuse, errSilent
	}
	return e.fuse, io.ErrClosedPipe
}

func (e *end) Close() error {
	e.link.mu.Lock()
	e.link.open = slices.DeleteFunc(e.link.open, func(other *end) bool { return other == e })
	e.link.mu.Unlock()
	return e.Conn.Close()
}
