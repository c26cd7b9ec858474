package fcmsim

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// link is a listener whose connections are pipes.
type link struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newLink() *link { return &link{conns: make(chan net.Conn), done: make(chan struct{})} }

func (l *link) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *link) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *link) Addr() net.Addr { return &net.UnixAddr{Name: "sim", Net: "pipe"} }

func (l *link) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client makes a client of HTTP/2 without TLS over the link.
func (l *link) client(t *testing.T, s *Server) *client {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{DialContext: l.DialContext, Protocols: &p}
	return &client{t, s, &http.Client{Transport: tr, Timeout: patience}, s.NewToken()}
}

// later sends a message and gives its answer to the channel.
func (c *client) later(g *sync.WaitGroup, balID string, to chan<- answer) {
	g.Go(func() { to <- c.to("t", balID) })
}

// A server works inside a bubble: an hour passes at once, and all goroutines end.
func TestBubble(t *testing.T) {
	bubble(t, Options{AnswerDelay: Range{Min: time.Second}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		defer c.http.CloseIdleConnections()
		start := time.Now()
		equal(t, "send", c.to("t", "1").code, 200)
		equal(t, "took", time.Since(start), time.Second)
		s.SetTokens(Tokens{ExpiresIn: Duration(time.Hour)})
		c.token = s.NewToken()
		time.Sleep(time.Hour)
		equal(t, "expired", c.to("t", "2").reason(), "ACCESS_TOKEN_EXPIRED")
		equal(t, "an idle connection was closed", s.Counts().Connections, 2)
	})
}

func TestIdle(t *testing.T) {
	bubble(t, Options{IdleTimeout: time.Minute}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		c.to("t", "1")
		time.Sleep(59 * time.Second)
		c.to("t", "2")
		equal(t, "open", s.Report().Open, 1)
		time.Sleep(62 * time.Second)
		synctest.Wait()
		equal(t, "open after a minute", s.Report().Open, 0)
		equal(t, "dialled", s.Counts().Connections, 1)
	})
}

// What a connection's loss means for what was in flight: delivered, or not.
func TestCuts(t *testing.T) {
	for _, mode := range []CutMode{CutFIN, CutRST, CutBlackhole} {
		for _, lose := range []bool{false, true} {
			bubble(t, Options{AnswerDelay: Range{Min: time.Minute}}, func(t *testing.T, s *Server, l *link) {
				c := l.client(t, s)
				c.http.Timeout = 10 * time.Second
				var g sync.WaitGroup
				got := make(chan answer, 2)
				c.later(&g, "1", got)
				c.later(&g, "2", got)
				synctest.Wait()
				equal(t, "streams", s.Report().Streams, 2)
				if n, err := s.Cut(Cut{Mode: mode, Lose: lose}); n < 1 || err != nil {
					t.Errorf("cut %d: %v", n, err)
				}
				g.Wait()
				synctest.Wait()
				for range 2 {
					if a := <-got; a.err == nil {
						t.Errorf("%s: %+v", mode, a)
					}
				}
				equal(t, "delivered", s.Counts().Delivered, map[bool]uint64{false: 2}[lose])
				equal(t, "lost", s.Counts().Lost, 2)
				equal(t, "streams", s.Report().Streams, 0)
				c.http.CloseIdleConnections()
			})
		}
	}
}

// A connection on which nothing has come yet is like one that is dialled later: a GOAWAY
// is not for it.
func TestGoAwayBeforeTheFirstBytes(t *testing.T) {
	bubble(t, Options{IdleTimeout: time.Second}, func(t *testing.T, s *Server, l *link) {
		early, err := l.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.GoAway(GoAway{}); err != nil {
			t.Fatal(err)
		}
		c := l.client(t, s)
		c.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return early, nil }
		equal(t, "send", c.to("t", "1").code, 200)
		time.Sleep(time.Minute)
		equal(t, "open connections", s.Report().Open, 0)
	})
}

// GOAWAY: what is below the last id ends, what is above was not done. net/http
// sends the latter again by itself.
func TestGoAway(t *testing.T) {
	bubble(t, Options{AnswerDelay: Range{Min: time.Second}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		defer c.http.CloseIdleConnections()
		c.to("warm", "0")
		var g sync.WaitGroup
		got := make(chan answer, 4)
		for i := range 4 {
			c.later(&g, fmt.Sprint("m", i), got)
		}
		synctest.Wait()
		if n, err := s.GoAway(GoAway{Drop: 2}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		g.Wait()
		synctest.Wait()
		for range 4 {
			if a := <-got; a.code != 200 {
				t.Errorf("%+v", a)
			}
		}
		n := s.Counts()
		equal(t, "dropped", n.Dropped, 2)
		equal(t, "delivered", n.Delivered, 5)
		equal(t, "duplicates", n.Duplicates, 0)
		if n.Connections < 2 {
			t.Errorf("%d connections: want another one for the two", n.Connections)
		}
	})
	bubble(t, Options{AnswerDelay: Range{Min: time.Second}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		defer c.http.CloseIdleConnections()
		c.to("warm", "0")
		var g sync.WaitGroup
		got := make(chan answer, 1)
		c.later(&g, "m", got)
		synctest.Wait()
		s.GoAway(GoAway{Code: "ENHANCE_YOUR_CALM", Text: "exceeded_max_concurrent_streams"})
		g.Wait()
		synctest.Wait() // the client's end of a connection can end before the server's
		if a := <-got; a.err == nil || !strings.Contains(a.err.Error(), "exceeded_max_concurrent_streams") {
			t.Errorf("%+v", a)
		}
		equal(t, "delivered, but not answered", s.Counts().Delivered, 2)
	})
}

// A connection never has more streams than allowed. One over the limit is refused, and
// net/http sends it again by itself.
func TestMaxStreams(t *testing.T) {
	bubble(t, Options{MaxStreams: 1, AnswerDelay: Range{Min: time.Second}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		defer c.http.CloseIdleConnections()
		c.to("warm", "0")
		var g sync.WaitGroup
		got := make(chan answer, 5)
		for i := range 5 {
			c.later(&g, fmt.Sprint("m", i), got)
		}
		g.Wait()
		synctest.Wait()
		r := s.Report()
		equal(t, "accepted", r.Accepted, 6)
		equal(t, "delivered", r.Delivered, 6)
		for _, conn := range r.Conns {
			if conn.MostStreams > 1 {
				t.Errorf("%d streams on a connection", conn.MostStreams)
			}
		}
	})
}

// A client that pings too often has to calm down.
func TestPings(t *testing.T) {
	bubble(t, Options{PingEvery: time.Minute, AnswerDelay: Range{Min: time.Hour}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		c.http.Timeout = 0
		c.http.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
		a := c.to("t", "1")
		if a.err == nil || !strings.Contains(a.err.Error(), "too_many_pings") {
			t.Errorf("%+v", a)
		}
		equal(t, "pings", s.Counts().Pings, 4)
		equal(t, "calmed", s.Counts().Calmed, 1)
	})
	bubble(t, Options{AnswerDelay: Range{Min: 2 * time.Minute}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		c.http.Timeout = 0
		c.http.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{SendPingTimeout: 31 * time.Second, PingTimeout: 15 * time.Second}
		equal(t, "pings are answered", c.to("t", "1").code, 200)
		c.http.CloseIdleConnections()
	})
}

// A frozen server does nothing, and goes on where it was.
func TestFreeze(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		defer c.http.CloseIdleConnections()
		c.to("warm", "0")
		s.Freeze(true)
		var g sync.WaitGroup
		got := make(chan answer, 1)
		c.later(&g, "m", got)
		time.Sleep(10 * time.Second)
		equal(t, "answers", len(got), 0)
		s.Freeze(false)
		g.Wait()
		equal(t, "after it", (<-got).code, 200)
	})
}

// Quotas are spent by the minute. Spec: fcm-v1-and-gateway.md A7.
func TestQuotas(t *testing.T) {
	bubble(t, Options{Quota: 3}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		defer c.http.CloseIdleConnections()
		equal(t, "a bad one counts", c.send(`{"token":"t","data":{"k":1}}`).code, 400)
		c.to("t", "1")
		c.to("t", "2")
		time.Sleep(10 * time.Second)
		a := c.to("t", "3")
		equal(t, "project", a.reason(), "RATE_LIMIT_EXCEEDED")
		equal(t, "Retry-After", a.header.Get("Retry-After"), "50")
		time.Sleep(50 * time.Second)
		equal(t, "next minute", c.to("t", "4").code, 200)

		if err := s.SetQuotas(Quotas{Target: 1, Topic: 1}); err != nil {
			t.Fatal(err)
		}
		equal(t, "target", c.to("t", "5").code, 200)
		equal(t, "target", c.to("t", "6").reason(), "QUOTA_EXCEEDED")
		equal(t, "other target", c.to("u", "7").code, 200)
		equal(t, "topic", c.send(`{"topic":"a"}`).code, 200)
		if a := c.send(`{"topic":"a"}`); !strings.Contains(a.body, "Topic quota exceeded.") {
			t.Errorf("topic: %+v", a)
		}
		equal(t, "over", s.Counts().OverQuota, 3)
	})
}

// What no client knows does no harm to net/http.
func TestGrease(t *testing.T) {
	s := newServer(t, Options{Grease: true})
	c := dial(t, s)
	for _, r := range []Response{Unregistered, Unavailable, NotFound, OK} {
		s.Answer(Match{}, r)
		a := c.to("t", "x")
		if a.err != nil || a.body == r.Body && r.Status != 404 || len(a.header) < 5 {
			t.Errorf("%+v", a)
		}
	}
}

// Answers come in another order with a range of delays.
func TestAnswerDelayRange(t *testing.T) {
	bubble(t, Options{Seed: 1, AnswerDelay: Range{Min: time.Second, Max: time.Minute}}, func(t *testing.T, s *Server, l *link) {
		c := l.client(t, s)
		c.http.Timeout = 2 * time.Minute
		defer c.http.CloseIdleConnections()
		var g sync.WaitGroup
		got := make(chan answer, 20)
		start := time.Now()
		for i := range 20 {
			c.later(&g, fmt.Sprint(i), got)
		}
		g.Wait()
		if took := time.Since(start); took < 20*time.Second || took > time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestOptionsCheck(t *testing.T) {
	for says, o := range map[string]Options{
		"project":      {Project: "No"},
		"number":       {SenderID: "abc"},
		"max streams":  {MaxStreams: -1},
		"answer delay": {AnswerDelay: Range{Min: -1}},
		"negative":     {TopicQuota: -1},
	} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %s", o, err, says)
		}
	}
}
