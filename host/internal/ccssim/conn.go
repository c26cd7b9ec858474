package ccssim

import (
	"container/heap"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/xmpp"
)

// State is where a connection stands (ccs-protocol.md §12).
type State string

// The states of a connection.
const (
	StateOpen     State = "open"     // TLS and login
	StateBound    State = "bound"    // messages flow
	StateDraining State = "draining" // no new downstream
	StateLost     State = "lost"     // a black hole: the client doesn't know yet
)

// conn is one connection: the goroutine of serve reads, a second one writes.
type conn struct {
	srv  *Server
	id   int
	wire *wire
	rw   net.Conn // TLS over wire, or wire
	r    *xmpp.Reader
	rnd  *rand.Rand // the writer's
	acct *account   // set by the login, before the writer starts
	jid  string
	head []byte // of each upstream

	kick     chan struct{} // hint for the writer: there may be something to write
	answered chan struct{} // hint for a reader that waits for room (OverStop)
	gone     chan struct{} // closed when the reader has ended
	stopped  chan struct{} // closed when the writer has ended

	// All below is guarded by srv.mu.
	state       State
	out         [][]byte // stanzas to write before anything else
	replies     replies  // to downstreams, by the time they are due
	inflight    map[ackKey]*delivery
	outstanding int // deliveries in inflight
	unanswered  int // downstreams whose reply hasn't been taken by the writer
	drain       *Drain
	closeAt     time.Time // zero: not planned
	ending      bool      // close when all of out is written
	cut         *Cut
	resends     []*delivery // by the time they were written; Options.ResendAfter
	quietSince  time.Time
	report      ConnReport
}

func newConn(s *Server, id int, nc net.Conn, conf *tls.Config) *conn {
	w := newWire(nc, &s.gate)
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

func (c *conn) wake() { hint(c.kick) }

func hint(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// serve is the connection's whole life.
func (c *conn) serve() error {
	defer c.wire.Close()
	c.wire.SetDeadline(time.Now().Add(c.srv.opts.LoginTimeout))
	if err := c.login(); err != nil {
		return err
	}
	c.wire.SetDeadline(time.Time{})
	c.wire.idle.Store(int64(c.srv.opts.IdleTimeout))

	var g errgroup.Group
	g.Go(func() error {
		defer close(c.stopped)
		err := c.write()
		if !errors.Is(err, errEnded) {
			c.wire.Close() // ends the reader too
			return err
		}
		// The reader takes what is on its way still: a close with bytes unread
		// is a RST, and the peer might lose the stream's end over it.
		c.wire.idle.Store(0)
		c.wire.SetReadDeadline(time.Now().Add(linger))
		if t, ok := c.rw.(*tls.Conn); ok {
			t.CloseWrite()
		}
		return err
	})
	err := c.read()
	if errors.Is(err, errAnswered) { // the writer has the last word
		c.wire.idle.Store(0)
		c.wire.SetReadDeadline(time.Now().Add(linger))
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

// bound lets the connection take part, unless its sender has too many; the
// writer begins with result.
func (c *conn) bound(result []byte) bool {
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

// unbind takes the connection out of everything and gives back its upstreams.
// Idempotent. srv.mu is held.
func (c *conn) unbind() {
	if c.acct != nil {
		delete(c.acct.conns, c)
		c.requeue()
	}
	for _, r := range c.replies { // the device has its message, whether its sender knows or not
		if r.then != nil {
			r.then(time.Now())
		}
	}
	c.replies = nil
	c.state = StateLost
}

// errAnswered: the reader has nothing more to do, and the writer ends the stream.
var errAnswered = errors.New("stream is being closed")

// read takes stanzas until the stream ends.
func (c *conn) read() error {
	for {
		element, err := c.r.Next()
		if err == nil {
			err = c.stanza(element)
		}
		if err != nil {
			if err = c.readError(err); err != nil {
				return err
			}
		}
		if c.r.Buffered() == 0 {
			c.wake()
		}
	}
}

// readError answers what ends a stream. Nil: the stream goes on.
func (c *conn) readError(err error) error {
	var fault xmpp.Fault
	var large *xmpp.TooLargeError
	var poison *poisonError
	switch {
	case errors.Is(err, xmpp.ErrClosed):
		c.end([]byte(xmpp.CloseTag))
	case errors.As(err, &large):
		c.endWith("policy-violation", err)
	case errors.As(err, &fault):
		// Spec: ccs-protocol.md §1.4: what CCS was seen to answer to bad XML, whatever RFC 6120 has for it.
		c.endWith("invalid-xml", err)
	case errors.Is(err, errOver):
		c.endWith("policy-violation", err)
	case errors.As(err, &poison):
		c.endWith(poison.condition, err)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.wire.idle.Load() > 0:
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
	c.end(streamError(condition))
}

// end writes last, after what waits already, and then closes the connection.
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

var errEnded = errors.New("the simulator ended the stream")

// write writes what there is until the connection is gone.
func (c *conn) write() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	buf := make([]byte, 0, 64<<10)
	for {
		c.srv.mu.Lock()
		now := time.Now() // under the lock: an account's connections see time pass the same way
		var end bool
		buf, end = c.fill(buf[:0], now)
		wake := c.nextWake(now)
		c.srv.mu.Unlock()
		if len(buf) > 0 {
			if err := c.flush(buf); err != nil {
				return err
			}
		}
		switch {
		case end:
			return errEnded
		case len(buf) > 0:
			continue // more may have come meanwhile
		}
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-c.kick:
		case <-timer.C:
		case <-c.gone:
			return nil
		}
	}
}

// fill appends what may be written now, and says whether that is the end.
func (c *conn) fill(buf []byte, now time.Time) (_ []byte, end bool) {
	s := c.srv
	full := 48 << 10
	if s.opts.WriteEach {
		full = 1
	}
	if !c.closeAt.IsZero() && !now.Before(c.closeAt) {
		c.finish([]byte(closeTag))
	}
	for len(c.out) > 0 && len(buf) < full {
		s.transcript.add(now, c.id, true, c.out[0])
		buf = append(buf, c.out[0]...)
		c.out = c.out[1:]
	}
	if c.ending {
		return buf, len(c.out) == 0
	}
	for len(c.replies) > 0 && !c.replies[0].due.After(now) && len(buf) < full {
		r := heap.Pop(&c.replies).(pending)
		if r.counted {
			c.unanswered--
			hint(c.answered)
		}
		s.transcript.add(now, c.id, true, r.stanza)
		buf = append(buf, r.stanza...)
		if r.then != nil {
			r.then(now)
		}
	}
	if c.carries() {
		for len(buf) < full {
			it := c.overdue(now)
			if it == nil {
				break
			}
			buf = c.deliver(buf, it, now)
		}
		for c.outstanding < s.opts.Window && len(buf) < full {
			it := s.next(c.acct, now)
			if it == nil {
				break
			}
			buf = c.deliver(buf, it, now)
			if s.opts.Duplicates > 0 && s.rnd.Float64() < s.opts.Duplicates && c.outstanding < s.opts.Window {
				buf = c.deliver(buf, it, now)
			}
		}
	}
	if k := s.opts.Keepalive; len(buf) > 0 {
		c.quietSince = now
	} else if k > 0 && now.Sub(c.quietSince) >= k {
		c.quietSince = now
		s.counts.Keepalives++
		buf = append(buf, xmpp.Keepalive...)
	}
	return buf, false
}

// carries reports whether upstreams are written here.
func (c *conn) carries() bool {
	return c.state == StateBound || c.state == StateDraining && !c.drain.NoUpstream
}

// nextWake is when fill may have something to do without a kick; zero: never.
func (c *conn) nextWake(now time.Time) time.Time {
	var wake time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	at(c.closeAt)
	if len(c.replies) > 0 {
		at(c.replies[0].due)
	}
	if c.carries() && c.outstanding < c.srv.opts.Window { // else a time that is past would wake it at once, for ever
		at(c.acct.load.wake(now))
		if len(c.resends) > 0 {
			at(c.resends[0].at.Add(c.srv.opts.ResendAfter))
		}
	}
	if k := c.srv.opts.Keepalive; k > 0 {
		at(c.quietSince.Add(k))
	}
	return wake
}

// flush writes b in the pieces that Options and a planned cut ask for.
func (c *conn) flush(b []byte) error {
	for len(b) > 0 {
		piece := b
		if n := c.srv.opts.SplitBytes; n > 0 {
			piece = b[:min(len(b), 1+c.rnd.IntN(n))]
		}
		c.srv.mu.Lock()
		cut := c.cut
		if cut != nil {
			piece = piece[:min(len(piece), cut.After)]
			cut.After -= len(piece)
		}
		c.srv.mu.Unlock()
		if _, err := c.rw.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
		if cut != nil && cut.After == 0 {
			c.srv.mu.Lock()
			c.kill(cut.Mode)
			c.srv.mu.Unlock()
			return io.ErrClosedPipe
		}
	}
	return nil
}

// pending is one answer to a downstream that waits for its time.
type pending struct {
	due     time.Time
	seq     uint64
	stanza  []byte
	counted bool                // it frees a place of the client's window
	then    func(now time.Time) // what follows when it is written, or never will be; may be nil
}

// replies is a heap by due time, then by arrival.
type replies []pending

func (r replies) Len() int      { return len(r) }
func (r replies) Swap(i, j int) { r[i], r[j] = r[j], r[i] }
func (r *replies) Push(x any)   { *r = append(*r, x.(pending)) }
func (r replies) Less(i, j int) bool {
	if !r[i].due.Equal(r[j].due) {
		return r[i].due.Before(r[j].due)
	}
	return r[i].seq < r[j].seq
}

func (r *replies) Pop() any {
	old := *r
	last := old[len(old)-1]
	*r = old[:len(old)-1]
	return last
}
