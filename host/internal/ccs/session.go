package ccs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/feed"
	"balhost/host/internal/latency"
	"balhost/host/internal/said"
	"balhost/host/internal/secret"
	"balhost/host/internal/status"
	"balhost/host/internal/xmpp"
	"balhost/sdk/message"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Session is one CCS sender's presence: Options.Connections slots, each kept
// filled with a connection.
type Session struct {
	o         Options
	counts    counts
	latency   latency.Histogram // of acks, from reading the upstream to writing its ack
	said      *said.Lines
	metrics   *metrics
	addresses addresses
	trust     trust
	secrets   *secret.Set
	queue     *semaphore.Weighted // of 1: so that no session waits more than once for Options.Connects
	debt      func()              // gives back the place that the session before lent; of Open and Close

	mu        sync.Mutex // guards what follows, and the state of each connection
	admission *admission
	last      int     // number of the newest connection
	lent      int     // places of Options.MaxConnections that a successor has: see Open
	first     *conn   // opened before Run; nil when there is none, and once a slot has it
	conns     []*conn // that live, oldest first; for a slot that waits the one to come
	err       error   // why the last connection ended that was not asked to
	errAt     time.Time
	denial    string            // why CCS does not let us in, as last said; "" when it does
	recent    []status.Unusable // newest last
}

// New makes a Session; Run starts it.
func New(o Options) *Session {
	s := &Session{o: o.withDefaults(), said: said.New(time.Now), queue: semaphore.NewWeighted(1)}
	s.secrets = secret.New(append(s.o.Secrets, s.o.Key, xmpp.Credentials{AuthCID: s.o.AuthCID, Password: s.o.Key}.Plain())...)
	s.admission = newAdmission(&s.o)
	if s.o.TLS != nil {
		s.trust.roots = s.o.TLS.RootCAs
	}
	s.metrics = newMetrics(s.o.Metrics, s)
	return s
}

// Run keeps the session connected until ctx ends. Then it takes no new
// downstreams, waits a little for answers and acks, and closes its connections. It
// fails only when the ledger is over.
func (s *Session) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range s.admission.slots {
		g.Go(func() error { return s.keep(ctx, g, &s.admission.slots[i]) })
	}
	return g.Wait()
}

// keep keeps one slot filled: as soon as its connection drains or has ended, the
// next one is made. One that drains lives on beside its replacement, and there may
// be several of them (ccs-protocol.md §7).
func (s *Session) keep(ctx context.Context, g *errgroup.Group, sl *slot) error {
	for {
		c := s.opened(sl)
		if c == nil {
			c = s.newConn(sl)
			if err := s.admit(ctx, c); err != nil { // ctx has ended
				s.forget(c, nil)
				return nil
			}
		}
		g.Go(func() error { return c.run(ctx) })
		<-c.leaving
		s.note(c)
	}
}

// admit waits until c may be tried, in the session and in the host. It fails when
// ctx ends.
func (s *Session) admit(ctx context.Context, c *conn) error {
	for {
		if err := s.permitted(ctx, c.slot); err != nil {
			return err
		}
		if err := s.queue.Acquire(ctx, 1); err != nil {
			return err
		}
		if permit, _, _ := s.ask(c.slot); permit != waits {
			break
		}
		s.queue.Release(1) // another try has failed meanwhile
	}
	defer s.queue.Release(1)
	if err := s.place(ctx, func() { c.state, c.since = Dialing, time.Now() }, Draining); err != nil {
		return err
	}
	return s.o.Connects.Wait(ctx)
}

// permitted waits until the slot may try.
func (s *Session) permitted(ctx context.Context, sl *slot) error {
	for {
		permit, wait, changed := s.ask(sl)
		if permit != waits {
			return ctx.Err()
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-timer:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask says what the slot may do now, how long until it may do more, and when to ask
// again before that. Permit and wait are of one look at the clock: a slot that is
// told to wait until a time, and not for a change, is told a wait above zero.
func (s *Session) ask(sl *slot) (p permit, wait time.Duration, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	return s.admission.ask(sl, now), s.admission.opens(sl).Sub(now), s.admission.changed
}

// place waits until there are fewer than Options.MaxConnections, then calls take,
// with mu held. Meanwhile the oldest connection in one of the states is asked not
// to wait for CCS to close it. It fails when ctx ends.
func (s *Session) place(ctx context.Context, take func(), yields ...State) error {
	for {
		s.mu.Lock()
		live, changed := s.lent, s.admission.changed
		var oldest *conn
		for _, c := range s.conns {
			if c.state == Waiting {
				continue
			}
			if oldest == nil && slices.Contains(yields, c.state) {
				oldest = c
			}
			live++
		}
		if live < s.o.MaxConnections {
			take()
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		if oldest != nil {
			oldest.box.put(func(m *mail) { m.hurry = true })
		}
		select {
		case <-changed:
		case <-time.After(s.o.Grace): // one may drain only now
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// note tells the admission how c ended, or that it drains.
func (s *Session) note(c *conn) {
	s.mu.Lock()
	lasted, now := time.Duration(0), time.Now()
	if !c.ready.IsZero() {
		lasted = now.Sub(c.ready)
	}
	contested := s.admission.ended(c.slot, c.ending(), lasted, now)
	err := c.err
	s.mu.Unlock()
	if said, ok := errors.AsType[*xmpp.StreamError](err); ok && contested {
		s.o.Log.Error("another client logs in as this sender, and the two push each other off; the wait before each connection grows while that lasts", "conn", c.number, "took", lasted, "err", said)
	}
}

// newConn makes the slot's next connection, which waits.
func (s *Session) newConn(sl *slot) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	now := time.Now()
	c := &conn{
		s: s, number: s.last, slot: sl, box: newBox(), leaving: make(chan struct{}), born: now,
		state: Waiting, since: now,
	}
	s.conns = append(s.conns, c)
	return c
}

// forget drops a connection that has ended; err is why, nil for an end that was
// asked for.
func (s *Session) forget(c *conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(other *conn) bool { return other == c })
	if c.err = err; err != nil {
		s.err, s.errAt = err, time.Now()
	}
	s.admission.gone(c.state, time.Now())
}

// Stands reports whether CCS has let a connection in that still lives.
func (s *Session) Stands() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admission.up > 0
}

// tell tells those who watch what became of a connection.
func (s *Session) tell(step feed.Step) {
	step.Kind, step.Session, step.By = feed.Session, s.o.SenderID, string(message.CCS)
	s.o.Feed.Tell(step)
}

// Hurry makes slots that wait try at once: a person says that what was wrong is
// mended. It reports whether any had to wait.
func (s *Session) Hurry() (waited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admission.hurry(time.Now())
}

// news reports whether CCS denies us for another reason than the last one; nil: it
// lets us in.
func (s *Session) news(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	changed := reason != s.denial
	s.denial = reason
	return changed
}
