package ccs

import (
	"context"
	"sync"
	"time"

	"balhost/host/internal/secret"
	"balhost/host/internal/xmpp"

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
	places  places
	trust   trust
	secrets *secret.Set

	door    *door
	contest contest
	alone   turn   // to try to be let in, while that is in doubt: see knock
	queue   turn   // for a place and Options.Connects, so that no session queues more than once
	debt    func() // gives back what the session lent that this one succeeds; of Open and Close

	mu     sync.Mutex    // guards what follows
	last   int           // number of the newest connection
	lent   int           // places of Options.MaxConnections that a successor has: see Open
	first  *conn         // opened before Run; nil when there is none, and once a slot has it
	conns  []*conn       // that live, oldest first; for a slot that waits the one to come
	fewer  chan struct{} // closed and replaced when a connection has ended
	rush   chan struct{} // closed and replaced when no slot shall wait any longer
	err    error         // why the last connection ended that was not asked to
	errAt  time.Time
	denied string     // why CCS does not let us in, as last said; "" when it does
	recent []Unusable // newest last
}

// New makes a Session; Run starts it.
func New(o Options) *Session {
	s := &Session{o: o.withDefaults(), alone: make(turn, 1), queue: make(turn, 1), fewer: make(chan struct{}), rush: make(chan struct{})}
	s.secrets = secret.New(append(s.o.Secrets, s.o.Key, xmpp.Credentials{AuthCID: s.o.AuthCID, Password: s.o.Key}.Plain())...)
	if s.door = newDoor(&s.o); s.o.TLS != nil {
		s.trust.roots = s.o.TLS.RootCAs
	}
	s.contest.patience, s.contest.now.Slots = newPatience(&s.o), s.o.Connections
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

// newConn makes the slot's next connection; it waits until the keeper runs it,
// after delay at the earliest.
func (s *Session) newConn(delay time.Duration, standing bool) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	now := time.Now()
	c := &conn{
		s: s, number: s.last, box: newBox(), state: Waiting, since: now, born: now,
		in: make(chan struct{}), leaving: make(chan struct{}), standing: standing,
	}
	if delay > 0 {
		c.due = c.since.Add(delay)
	}
	s.conns = append(s.conns, c)
	return c
}

// Hurry ends the waits before the next tries to connect: a person says that what
// was wrong is mended. It reports whether anybody waited.
func (s *Session) Hurry() (waited bool) {
	s.mu.Lock()
	now := time.Now()
	for _, c := range s.conns {
		if c.at() == Waiting && c.due.After(now) {
			c.due, waited = time.Time{}, true
		}
	}
	close(s.rush)
	s.rush = make(chan struct{})
	s.mu.Unlock()
	s.contest.over()
	return s.door.hurry() || waited
}

// pause waits until c is due; false when ctx ended before.
func (s *Session) pause(ctx context.Context, c *conn) bool {
	s.mu.Lock()
	rush, wait := s.rush, time.Until(c.due)
	s.mu.Unlock()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-rush:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
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
	close(s.fewer)
	s.fewer = make(chan struct{})
	if err != nil {
		s.err, s.errAt = err, time.Now()
	}
	if c.at() == Draining {
		s.door.free()
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
