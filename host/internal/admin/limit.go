package admin

import (
	"net"
	"sync"
)

// maxConns bounds the open connections, so that whoever reaches the address
// cannot use up the process's file descriptors. More wait in the system's queue.
const maxConns = 64

// limited is a listener of which at most cap(slots) connections are open.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	close  func() error // once
}

func limit(l net.Listener, most int) *limited {
	out := &limited{Listener: l, slots: make(chan struct{}, most), closed: make(chan struct{})}
	out.close = sync.OnceValue(func() error {
		close(out.closed)
		return l.Close()
	})
	return out
}

// Accept waits until there is room, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error { return l.close() }

// limitedConn gives its slot back when it is closed.
type limitedConn struct {
	net.Conn
	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
