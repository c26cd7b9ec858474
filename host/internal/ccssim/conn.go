package ccssim

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/simnet"
	"balhost/host/internal/xmpp"
)

// State is the state of a connection (ccs-protocol.md §12).
type State string

// The states of a connection.
const (
	StateOpen     State = "open"     // TLS and login
	StateBound    State = "bound"    // messages flow
	StateDraining State = "draining" // no new downstreams
	StateLost     State = "lost"     // cut: in a black hole the client does not know it yet
)

// conn is one connection. The goroutine of serve reads, a second one writes.
type conn struct {
	srv  *Server
	id   int
	wire *simnet.Wire
	rw   net.Conn // TLS over wire, or wire
	r    *xmpp.Reader
	rnd  *rand.Rand // used by the writer only
	acct *account   // set by the login, before the writer starts
	jid  string
	head []byte // of the stanza of each upstream

	kick     chan struct{} // hint for the writer: look again
	answered chan struct{} // hint for a reader that waits in awaitRoom: look again
	gone     chan struct{} // closed when the reader has ended
	stopped  chan struct{} // closed when the writer has ended

	// srv.mu guards all fields below.
	state       State
	out         [][]byte // stanzas to write first
	replies     replies  // to downstreams, by due time
	inflight    map[ackKey]*delivery
	outstanding int // number of deliveries in inflight
	unanswered  int // downstreams whose reply is not written yet
	drain       *Drain
	closeAt     time.Time // when to close; zero: never
	ending      bool      // close when out is empty
	cut         *Cut
	resends     []*delivery // for Options.ResendAfter; oldest first
	quietSince  time.Time   // when the last bytes were written
	report      ConnReport
}

func newConn(s *Server, id int, nc net.Conn, conf *tls.Config) *conn {
	w := simnet.NewWire(nc, &s.gate)
	c := &conn{
		srv: s, id: id, wire: w, rw: w,
		rnd:      rand.New(rand.NewPCG(s.opts.Seed, uint64(id))),
		kick:     make(chan struct{}, 1),
		answered: make(chan struct{}, 1),
		gone:     make(chan struct{}),
		stopped:  make(chan struct{}),
		state:    StateOpen,
		inflight: map[ackKey]*delivery{},
		report:   ConnReport{ID: id},
	}
	if conf != nil {
		c.rw = tls.Server(w, conf)
	}
	c.r = xmpp.NewReader(c.rw, s.opts.MaxStanza)
	return c
}

// wake tells the writer to look again.
func (c *conn) wake() { hint(c.kick) }

func hint(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// serve runs the connection from the login to the end.
func (c *conn) serve() error {
	defer c.wire.Close()
	c.wire.SetDeadline(time.Now().Add(c.srv.opts.LoginTimeout))
	if err := c.login(); err != nil {
		return err
	}
	c.wire.SetDeadline(time.Time{})
	c.wire.LimitIdle(c.srv.opts.IdleTimeout)

	var g errgroup.Group
	g.Go(func() error {
		defer close(c.stopped)
		err := c.write()
		if !errors.Is(err, errEnded) {
			c.wire.Close() // ends the reader too
			return err
		}
		// The reader goes on for a moment. If a socket is closed with unread bytes,
		// the peer gets a RST and may lose the stream's end.
		c.limitRead()
		if t, ok := c.rw.(*tls.Conn); ok {
			t.CloseWrite()
		}
		return err
	})
	err := c.read()
	if errors.Is(err, errAnswered) { // the writer still writes the answer
		c.limitRead()
		c.wire.SetWriteDeadline(time.Now().Add(linger))
		io.Copy(io.Discard, c.rw)
	}
	close(c.gone)
	if werr := g.Wait(); werr != nil {
		return werr
	}
	return err
}

// linger is how long an ended stream waits for the peer's close.
const linger = time.Second

// limitRead ends all reads after linger.
func (c *conn) limitRead() {
	c.wire.LimitIdle(0)
	c.wire.SetReadDeadline(time.Now().Add(linger))
}

// bind adds the connection to its account. It reports false if the sender has too
// many connections. result is the bind result, which the writer writes first.
func (c *conn) bind(result []byte) bool {
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(c.acct.conns) >= s.opts.Connections {
		return false
	}
	if s.opts.Single {
		for other := range c.acct.conns {
			s.counts.StreamErrors++
			other.finish(xmpp.AppendStreamError(nil, "conflict", "Replaced by new connection"))
		}
	}
	s.counts.Logins++
	c.out = append(c.out, result)
	c.state = StateBound
	c.quietSince = time.Now()
	c.report.Sender, c.report.JID = c.acct.id, c.jid
	c.acct.conns[c] = struct{}{}
	s.opts.Log.Info("client bound", "conn", c.id, "jid", c.jid)
	return true
}

// unbind removes the connection from its account, and queues its un-acked
// upstreams again. It is idempotent. srv.mu must be held.
func (c *conn) unbind() {
	if c.acct != nil {
		delete(c.acct.conns, c)
		c.requeue()
	}
	for _, r := range c.replies { // the device has the message, although the client got no reply
		if r.then != nil {
			r.then(time.Now())
		}
	}
	c.replies = nil
	c.state = StateLost
}

// errAnswered means that the reader has ended, and that the writer ends the stream.
var errAnswered = errors.New("stream is being closed")

// endError ends the stream with a stream error of that condition.
type endError struct{ condition, why string }

func (e *endError) Error() string { return e.why }

// read handles stanzas until the stream ends.
func (c *conn) read() error {
	for {
		element, err := c.r.Next()
		if err == nil {
			err = c.stanza(element)
		}
		if err != nil {
			return c.readError(err)
		}
		if c.r.Buffered() == 0 {
			c.wake()
		}
	}
}

// readError ends the stream in the way that fits err. The result is errAnswered,
// or err if the client can't be answered.
func (c *conn) readError(err error) error {
	var fault xmpp.Fault
	var large *xmpp.TooLargeError
	var end *endError
	switch {
	case errors.Is(err, xmpp.ErrClosed):
		c.end([]byte(xmpp.CloseTag))
	case errors.As(err, &large):
		c.endWith("policy-violation", err)
	case errors.As(err, &fault):
		// Spec: ccs-protocol.md §1.4. CCS answered bad XML so; RFC 6120 names another condition.
		c.endWith("invalid-xml", err)
	case errors.As(err, &end):
		c.endWith(end.condition, err)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.wire.IdleLimit() > 0:
		c.endWith("connection-timeout", err)
	default:
		return err
	}
	return errAnswered
}

func (c *conn) endWith(condition string, why error) {
	c.srv.opts.Log.Warn("stream error", "conn", c.id, "condition", condition, "err", why)
	c.srv.mu.Lock()
	c.srv.counts.StreamErrors++
	c.srv.mu.Unlock()
	c.end(xmpp.AppendStreamError(nil, condition, ""))
}

// end writes last after everything in out, and then closes the connection.
func (c *conn) end(last []byte) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.finish(last)
}

// finish is end for holders of srv.mu.
func (c *conn) finish(last []byte) {
	if !c.ending {
		c.out = append(c.out, last)
		c.ending = true
	}
	c.wake()
}
