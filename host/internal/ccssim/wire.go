package ccssim

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is a connection below TLS. It makes the connection's faults.
type wire struct {
	net.Conn
	gate   *gate
	hole   atomic.Bool  // a black hole: what is read or written disappears
	idle   atomic.Int64 // longest wait for bytes, in nanoseconds; 0: no limit
	fuse   atomic.Int64 // bytes until the planned cut, plus one; 0: no cut is planned
	closed chan struct{}
	once   sync.Once
}

func newWire(nc net.Conn, g *gate) *wire {
	return &wire{Conn: nc, gate: g, closed: make(chan struct{})}
}

func (w *wire) Read(p []byte) (int, error) {
	for {
		if idle := w.idle.Load(); idle > 0 {
			w.Conn.SetReadDeadline(time.Now().Add(time.Duration(idle)))
		}
		n, err := w.Conn.Read(p)
		w.gate.wait(w.closed) // bytes that came during a freeze are read after it
		if err != nil || !w.hole.Load() {
			return n, err
		}
	}
}

func (w *wire) Write(p []byte) (int, error) {
	w.gate.wait(w.closed)
	if w.hole.Load() {
		return len(p), nil
	}
	left := w.fuse.Load()
	if left == 0 || int64(len(p)) < left {
		if left > 0 {
			w.fuse.Store(left - int64(len(p)))
		}
		return w.Conn.Write(p)
	}
	n, _ := w.Conn.Write(p[:left-1])
	w.Close()
	return n, io.ErrClosedPipe
}

// Close closes the connection at once. The peer gets a FIN, and no TLS close_notify.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// reset closes the connection, with a RST if it is TCP.
func (w *wire) reset() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	w.Close()
}

// gate stops all connections of a server while it is frozen.
type gate struct {
	mu   sync.Mutex
	thaw chan struct{} // closed at the end of the freeze; nil while there is none
}

func (g *gate) freeze(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case on && g.thaw == nil:
		g.thaw = make(chan struct{})
	case !on && g.thaw != nil:
		close(g.thaw)
		g.thaw = nil
	}
}

// wait waits until the freeze ends or closed is closed.
func (g *gate) wait(closed <-chan struct{}) {
	g.mu.Lock()
	thaw := g.thaw
	g.mu.Unlock()
	if thaw != nil {
		select {
		case <-thaw:
		case <-closed:
		}
	}
}
