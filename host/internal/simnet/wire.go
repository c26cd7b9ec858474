package simnet

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Wire is a connection below TLS. It makes the connection's faults. Any goroutine
// may call its methods.
type Wire struct {
	net.Conn
	gate   *Gate
	hole   atomic.Bool  // a black hole: what is read or written disappears
	idle   atomic.Int64 // longest wait for bytes, in nanoseconds; 0: no limit
	fuse   atomic.Int64 // bytes until the planned cut, plus one; 0: no cut is planned
	closed chan struct{}
	once   sync.Once
}

// NewWire makes the wire of one connection. All wires of a server have one gate.
func NewWire(nc net.Conn, g *Gate) *Wire {
	return &Wire{Conn: nc, gate: g, closed: make(chan struct{})}
}

func (w *Wire) Read(p []byte) (int, error) {
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

func (w *Wire) Write(p []byte) (int, error) {
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
func (w *Wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// Closed is closed with the connection.
func (w *Wire) Closed() <-chan struct{} { return w.closed }

// LimitIdle ends a read that gets no bytes for d. 0 means no limit.
func (w *Wire) LimitIdle(d time.Duration) { w.idle.Store(int64(d)) }

// IdleLimit is what LimitIdle has set.
func (w *Wire) IdleLimit() time.Duration { return time.Duration(w.idle.Load()) }

// CutAfter closes the connection after n more bytes of TLS or plain text.
func (w *Wire) CutAfter(n int) { w.fuse.Store(int64(n) + 1) }

// Blackhole makes all bytes disappear from now on, in both directions.
func (w *Wire) Blackhole() { w.hole.Store(true) }

// Reset closes the connection, with a RST if it is TCP.
func (w *Wire) Reset() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	w.Close()
}

// Gate stops all connections of a server while it is frozen.
type Gate struct {
	mu   sync.Mutex
	thaw chan struct{} // closed at the end of the freeze; nil while there is none
}

// Freeze closes the gate, or opens it again.
func (g *Gate) Freeze(on bool) {
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
func (g *Gate) wait(closed <-chan struct{}) {
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
