package ccs

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Session is one CCS sender's presence: Options.Connections slots, each kept
// filled with a connection.
type Session struct {
	o       Options
	counts  counts
	latency latency
	said    said
	metrics *metrics

	mu     sync.Mutex // guards what follows
	last   int        // number of the newest connection
	conns  []*conn    // that live, oldest first; for a slot in its backoff the one to come
	err    error      // why the last connection ended that was not asked to
	errAt  time.Time
	denied string     // why CCS does not let us in, as last said; "" when it does
	recent []Unusable // newest last
}

// New makes a Session; Run starts it.
func New(o Options) *Session {
	s := &Session{o: o.withDefaults()}
	s.metrics = newMetrics(s.o.Metrics, s)
	return s
}

// Run keeps the session connected until ctx ends, then takes its leave: no new
// downstreams, a short wait for answers and acks, a clean close. It fails only
// when the ledger is over.
func (s *Session) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range s.o.Connections {
		g.Go(func() error { return s.keep(ctx, g) })
	}
	return g.Wait()
}

// keep keeps one slot filled: when its connection ends or drains, the next one
// is made, after a delay where the last did not last. One that drains lives on
// beside its replacement, and there may be several (ccs-protocol.md §7).
func (s *Session) keep(ctx context.Context, g *errgroup.Group) error {
	p := patience{o: &s.o, rnd: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	var delay time.Duration
	for {
		c := s.newConn(delay)
		if !sleep(ctx, delay) {
			s.forget(c, nil)
			return nil
		}
		g.Go(func() error { return onlyStore(c.run(ctx)) })
		<-c.leaving
		if ctx.Err() != nil {
			return nil
		}
		delay = p.after(c.lasted(), c.ended())
	}
}

// onlyStore lets through what ends the session.
func onlyStore(err error) error {
	if errors.As(err, new(errStore)) {
		return err
	}
	return nil
}

// patience is how long a slot waits before its next connection.
type patience struct {
	o                  *Options
	rnd                *rand.Rand
	failures, refusals int // in a row, since a connection was stable
}

// after is the wait after a connection that served for lasted and ended with
// err; nil for one that drains, which is replaced at once, the first time.
func (p *patience) after(lasted time.Duration, err error) (wait time.Duration) {
	if lasted >= p.o.Stable {
		p.failures, p.refusals = 0, 0
	}
	switch {
	case err == nil:
		if p.failures > 0 {
			wait = p.o.Backoff.Delay(p.failures, p.rnd)
		}
		if lasted < p.o.Stable {
			p.failures++
		}
	case refused(err):
		p.refusals++
		patient := p.o.Backoff
		patient.Min = p.o.Refused
		patient.Max = max(patient.Max, patient.Min)
		wait = patient.DelayAtLeast(p.refusals, p.rnd)
	default:
		p.failures++
		wait = p.o.Backoff.Delay(p.failures, p.rnd)
	}
	return wait
}

// sleep waits for d; false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// newConn makes the slot's next connection, which starts after delay.
func (s *Session) newConn(delay time.Duration) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	c := &conn{s: s, number: s.last, box: newBox(), leaving: make(chan struct{}), state: Waiting, since: time.Now()}
	s.conns = append(s.conns, c)
	return c
}

// forget drops a connection that has ended.
func (s *Session) forget(c *conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.conns {
		if other == c {
			s.conns = append(s.conns[:i:i], s.conns[i+1:]...)
		}
	}
	if err != nil {
		s.err, s.errAt = err, time.Now()
	}
}

// news reports whether err is another reason to be refused than the last one;
// nil is none.
func (s *Session) news(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	changed := reason != s.denied
	s.denied = reason
	return changed
}
