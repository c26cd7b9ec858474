package hosttest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Pipes are a net.Listener without a network, for an fcmsim server or a gateway: each
// connection is a net.Pipe. Any goroutine may call its methods.
type Pipes struct {
	come   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipes makes a listener that nobody has dialled yet.
func NewPipes() *Pipes {
	return &Pipes{come: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections stay.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is a loopback address, since key files must not send tokens elsewhere in the clear.
func (p *Pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5228} }

// dial makes a connection, and returns the client's end.
func (p *Pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	var err error
	select {
	case p.come <- theirs:
		return newSocket(ours), nil
	case <-p.closed:
		err = errDown
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	ours.Close()
	theirs.Close()
	return nil, err
}

// shared is another listener at the same address: who dials meets the one that accepts.
func (p *Pipes) shared() *Pipes { return &Pipes{come: p.come, closed: make(chan struct{})} }

// dialFrom makes a connection from an address, and returns the client's end. opened may
// wrap the server's.
func (p *Pipes) dialFrom(ctx context.Context, from net.Addr, opened func(net.Conn) (net.Conn, error)) (net.Conn, error) {
	ours, theirs := net.Pipe()
	server, err := opened(caller{newSocket(theirs), from})
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	select {
	case p.come <- server:
		return newSocket(ours), nil
	case <-ctx.Done():
	}
	return nil, errors.Join(context.Cause(ctx), ours.Close(), server.Close())
}

// caller is a connection from an address.
type caller struct {
	net.Conn
	from net.Addr
}

func (c caller) RemoteAddr() net.Addr { return c.from }

// socket is the end of a pipe with a buffer: a write does not wait for the reader. net/http
// writes under a lock, and a wait for a lock holds a bubble's clock.
type socket struct {
	net.Conn
	more   chan struct{} // hint for run: there is something to write
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex // guards what follows
	buffer []byte
	err    error // why nothing is written any more
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c, more: make(chan struct{}, 1), closed: make(chan struct{})}
	go s.run() //house:go ends when the socket is closed
	return s
}

func (s *socket) run() {
	for {
		select {
		case <-s.more:
		case <-s.closed:
			return
		}
		s.mu.Lock()
		p := s.buffer
		s.buffer = nil
		s.mu.Unlock()
		if _, err := s.Conn.Write(p); err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
	}
}

func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.buffer = append(s.buffer, p...)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// Close drops what is in the buffer.
func (s *socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}
