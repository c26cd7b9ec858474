package fcmsim

import (
	"bufio"
	"container/heap"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/simnet"
)

// conn is one connection. The goroutine of serve reads. On HTTP/2 a second one
// writes; on HTTP/1.1 the reader does.
type conn struct {
	srv  *Server
	id   int
	wire *simnet.Wire
	rw   net.Conn // TLS over wire, or wire
	r    *bufio.Reader
	kick chan struct{} // hint for the writer: look again
	gone chan struct{} // closed when the reader has ended

	// srv.mu guards all fields below.
	report  ConnReport
	streams map[uint32]*exchange // requests without a whole answer; that of HTTP/1.1 has 0
	lost    bool                 // cut: in a black hole the client does not know it yet
	last    bool                 // no request after this one
	idle    time.Time            // since when there was no request
	h2      framing
}

func newConn(s *Server, id int, nc net.Conn, conf *tls.Config) *conn {
	w := simnet.NewWire(nc, &s.gate)
	c := &conn{
		srv: s, id: id, wire: w, rw: w,
		kick: make(chan struct{}, 1), gone: make(chan struct{}),
		report: ConnReport{ID: id}, streams: map[uint32]*exchange{}, idle: time.Now(),
		h2: framing{window: defaultWindow, initial: defaultWindow},
	}
	if conf != nil {
		c.rw = tls.Server(w, conf)
	}
	c.r = bufio.NewReaderSize(c.rw, 32<<10)
	return c
}

// wake tells the writer to look again.
func (c *conn) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// openLimit is how long a client may take until its first bytes.
const openLimit = 30 * time.Second

// serve runs the connection to its end.
func (c *conn) serve() error {
	c.wire.SetDeadline(time.Now().Add(openLimit))
	start, err := c.r.Peek(3)
	if err != nil {
		return err
	}
	c.wire.SetDeadline(time.Time{})
	if string(start) != "PRI" || c.srv.opts.HTTP1Only {
		c.speaks("http/1.1")
		return c.serveHTTP1()
	}
	c.speaks("h2")
	var g errgroup.Group
	g.Go(func() error {
		err := c.writeHTTP2()
		c.linger()
		return err
	})
	err = c.readHTTP2()
	close(c.gone)
	if werr := g.Wait(); werr != nil {
		return werr
	}
	return err
}

// speaks records the connection's protocol.
func (c *conn) speaks(protocol string) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.report.Protocol = protocol
	if protocol != "h2" {
		c.srv.counts.HTTP1++
	}
}

// linger lets the reader go on for a moment, after the last byte was written. If a
// socket is closed with unread bytes, the peer gets a RST and may lose the end.
func (c *conn) linger() {
	c.wire.SetReadDeadline(time.Now().Add(time.Second))
	if t, ok := c.rw.(*tls.Conn); ok {
		t.CloseWrite()
	}
	if t, ok := c.wire.Conn.(*net.TCPConn); ok {
		t.CloseWrite()
	}
}

// begin counts a request whose answer is not written yet. srv.mu must be held.
func (c *conn) begin(x *exchange) {
	s := c.srv
	x.conn = c.id
	c.report.Requests++
	c.report.Streams++
	c.report.MostStreams = max(c.report.MostStreams, c.report.Streams)
	s.streams++
	s.counts.MostStreams = max(s.counts.MostStreams, s.streams)
}

// end counts a request that got its answer, or never will. It is idempotent. srv.mu
// must be held.
func (c *conn) end(x *exchange, now time.Time) {
	if x.gone {
		return
	}
	x.gone = true
	c.report.Streams--
	c.srv.streams--
	c.idle = now
}

// lose ends a request whose client does not wait for the answer any more. What was
// read whole is delivered all the same. srv.mu must be held.
func (c *conn) lose(x *exchange, now time.Time) {
	if x.gone {
		return
	}
	c.srv.counts.Lost++
	c.end(x, now)
	if x.seq > 0 {
		c.settle(x, now, "lost")
	}
}

// abandon loses all requests of the connection. It is idempotent. srv.mu must be held.
func (c *conn) abandon(now time.Time) {
	c.lost = true
	ids := make([]uint32, 0, len(c.streams))
	for id := range c.streams {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		c.lose(c.streams[id], now)
	}
	clear(c.streams)
	c.h2.due, c.h2.sending = nil, nil
}

// drop ends a request that was not handled as if it had never come. srv.mu must be held.
func (c *conn) drop(x *exchange, now time.Time) {
	x.message = nil
	c.srv.counts.Dropped++
	c.srv.settle(x, now, "dropped")
	c.end(x, now)
}

// settle handles a request to its end: what comes after it is its answer. srv.mu must
// be held.
func (c *conn) settle(x *exchange, now time.Time, status string) {
	c.h2.settled = max(c.h2.settled, x.stream)
	c.srv.settle(x, now, status)
}

// kill cuts the connection now. srv.mu must be held.
func (c *conn) kill(mode CutMode) {
	if c.lost {
		return
	}
	c.srv.counts.Cut++
	c.abandon(time.Now())
	switch mode {
	case CutRST:
		c.wire.Reset()
	case CutBlackhole:
		c.wire.Blackhole()
	default:
		c.wire.Close()
	}
}

// queue is a heap of answers by due time, then by arrival.
type queue []*exchange

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*exchange)) }
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].seq < q[j].seq
}

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// next takes the next answer that is due; nil without one.
func (q *queue) next(now time.Time) *exchange {
	for len(*q) > 0 && ((*q)[0].gone || !(*q)[0].due.After(now)) {
		if x := heap.Pop(q).(*exchange); !x.gone {
			return x
		}
	}
	return nil
}
