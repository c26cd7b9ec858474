package ccs

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// keep keeps one slot filled: when its connection ends or drains, the next one
// is made, after a delay where the last did not last. One that drains lives on
// beside its replacement, and there may be several (ccs-protocol.md §7).
func (s *Session) keep(ctx context.Context, g *errgroup.Group) error {
	p := newPatience(&s.o)
	var delay time.Duration
	standing := false // CCS let the slot's last connection in, and refused none since
	alone := false    // the slot has s.alone
	defer func() { s.alone.pass(&alone) }()
	for {
		c := s.begun()
		if c == nil {
			c = s.newConn(delay, standing)
			if !s.pause(ctx, c) || !s.knock(ctx, c, standing, &alone) {
				s.forget(c, nil)
				return nil
			}
		}
		g.Go(func() error { return onlyStore(c.run(ctx)) })
		select {
		case <-c.in:
			s.door.opened(standing)
			s.alone.pass(&alone)
			<-c.leaving
		case <-c.leaving:
		}
		if ctx.Err() != nil {
			return nil
		}
		lasted, wasIn := c.lasted()
		var ours errDownstream
		switch err := c.ended(); {
		case c.at() == Draining: // whether it has ended since or not
			standing, delay = true, p.drained(lasted)
		case errors.As(err, &ours) && ours.useful:
			standing, delay = true, p.disturbed(lasted)
		case wasIn && !refused(err):
			standing, delay = true, max(p.lost(lasted), s.rivalled(c, err, lasted))
		default:
			standing, delay = false, 0
			s.door.shut(err, !s.Stands())
		}
		s.alone.pass(&alone)
	}
}

// place waits until c makes no more than Options.MaxConnections, and lets it
// begin. False when ctx ended before.
func (s *Session) place(ctx context.Context, c *conn) bool {
	return s.room(ctx, func() { c.enter(Dialing) }, Draining)
}

// room waits until there are fewer than Options.MaxConnections, then calls take,
// with mu held. Meanwhile the oldest connection in one of the states is asked not
// to wait for CCS to close it. False when ctx ended before.
func (s *Session) room(ctx context.Context, take func(), yields ...State) bool {
	for {
		s.mu.Lock()
		live, fewer := s.lent, s.fewer
		var oldest *conn
		for _, other := range s.conns {
			state := other.at()
			if state == Waiting {
				continue
			}
			if oldest == nil && slices.Contains(yields, state) {
				oldest = other
			}
			live++
		}
		if live < s.o.MaxConnections {
			take()
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
		if oldest != nil {
			oldest.box.put(func(m *mail) { m.hurry = true })
		}
		select {
		case <-fewer:
		case <-time.After(s.o.Grace): // one may drain only now
		case <-ctx.Done():
			return false
		}
	}
}

// Stands reports whether CCS has let a connection in that still lives.
func (s *Session) Stands() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if state := c.at(); state == Ready || state == Draining {
			return true
		}
	}
	return false
}

// onlyStore lets through what ends the session.
func onlyStore(err error) error {
	if errors.As(err, new(errStore)) {
		return err
	}
	return nil
}

// drainPause is the longest wait before a connection that drains is replaced:
// without the replacement no downstream goes out, so it never grows to what a
// lost connection's does.
const drainPause = 5 * time.Second

// patience is how long to wait before the next connection.
type patience struct {
	o                          *Options
	rnd                        *rand.Rand
	failures, refusals, drains int // in a row, since a connection was stable
}

func newPatience(o *Options) patience {
	return patience{o: o, rnd: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// calm notes for how long all was well: what was so for long enough begins anew.
func (p *patience) calm(d time.Duration) {
	if d >= p.o.Stable {
		p.failures, p.refusals, p.drains = 0, 0, 0
	}
}

// lost is the wait after a connection that served for lasted, or that was none.
func (p *patience) lost(lasted time.Duration) time.Duration {
	p.calm(lasted)
	p.failures++
	return p.o.Backoff.Delay(p.failures, p.rnd)
}

// disturbed is the wait after a connection that was of use until a downstream
// ended it: that it goes on like this is not for the connection to prevent.
func (p *patience) disturbed(lasted time.Duration) time.Duration {
	p.calm(lasted)
	return p.o.Backoff.Delay(1, p.rnd)
}

// refused is the wait after CCS did not let us in: long, and ever longer.
func (p *patience) refused(calm time.Duration) time.Duration {
	p.calm(calm)
	p.refusals++
	patient := p.o.Backoff
	patient.Min = p.o.Refused
	patient.Max = max(patient.Max, patient.Min)
	return patient.DelayAtLeast(p.refusals, p.rnd)
}

// drained is the wait after a connection that drains: none, unless its
// predecessor was drained too, a short while ago. Several in a row are what CCS
// may do (ccs-protocol.md §7); one that drains all it lets in gets no storm.
func (p *patience) drained(lasted time.Duration) time.Duration {
	p.calm(lasted)
	p.drains++
	if p.drains == 1 {
		return 0
	}
	short := p.o.Backoff
	short.Max = min(short.Max, max(short.Min, drainPause))
	return short.Delay(p.drains-1, p.rnd)
}
