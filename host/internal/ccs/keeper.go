package ccs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// keep keeps one slot filled: when its connection ends or drains, the next one
// is made, after a delay where the last did not last. One that drains lives on
// beside its replacement, and there may be several (ccs-protocol.md §7).
//
// Slots connect in turn. While no connection stands, or where CCS refuses us,
// one slot alone tries, and keeps its turn over its delays: a thousand slots
// with a wrong key knock no more often than one.
func (s *Session) keep(ctx context.Context, g *errgroup.Group) error {
	p := patience{o: &s.o, rnd: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	var delay time.Duration
	mine := false // the turn
	defer func() { s.turn.pass(&mine) }()
	for {
		c := s.newConn()
		if !sleep(ctx, delay) || !s.turn.take(ctx, &mine) || !s.place(ctx, c) || s.o.Connects.Wait(ctx) != nil {
			s.forget(c, nil)
			return nil
		}
		if s.stands() && p.refusals == 0 {
			s.turn.pass(&mine)
		}
		g.Go(func() error { return onlyStore(c.run(ctx)) })
		select {
		case <-c.in:
			s.turn.pass(&mine)
		case <-c.leaving:
			if s.stands() && !refused(c.ended()) {
				s.turn.pass(&mine)
			}
		}
		<-c.leaving
		if ctx.Err() != nil {
			return nil
		}
		delay = p.after(c.lasted(), c.ended())
	}
}

// turn is the right to connect: one slot of a session has it at a time, so that
// no session queues for Options.Connects more than once.
type turn chan struct{}

// take waits for the turn, unless it is mine already; false when ctx ended before.
func (t turn) take(ctx context.Context, mine *bool) bool {
	if !*mine {
		select {
		case t <- struct{}{}:
			*mine = true
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// pass gives the turn on, if it is mine.
func (t turn) pass(mine *bool) {
	if *mine {
		<-t
		*mine = false
	}
}

// place waits until c makes no more than Options.MaxConnections, and lets it
// begin. Meanwhile the oldest connection that drains is asked not to wait for
// CCS to close it. False when ctx ended before.
func (s *Session) place(ctx context.Context, c *conn) bool {
	for {
		s.mu.Lock()
		live, fewer := 0, s.fewer
		var oldest *conn
		for _, other := range s.conns {
			switch other.at() {
			case Waiting:
				continue
			case Draining:
				if oldest == nil {
					oldest = other
				}
			}
			live++
		}
		if live < s.o.MaxConnections {
			c.enter(Dialing)
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

// stands reports whether CCS has let a connection in that still lives.
func (s *Session) stands() bool {
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
