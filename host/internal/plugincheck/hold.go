package plugincheck

import (
	"context"
	"fmt"
	"time"

	"balhost/sdk/wire"
)

// Most handlers end at once. One that reads the state can be made to run for long: its
// reply does not come. So extend and revoke can be seen, and that other work goes on.

const (
	mendExtend = "§4, extend: while a handler runs, send its delivery's number at least every extend_ms; every half of it is usual"
	mendRevoke = "§4, timeout_ms: cancel the handler when its time is up and when its number stands in revoke; a call that it waits for ends then"
	stuckAfter = 5 * time.Second // past its time a handler counts as stuck

	stuckWithout = 3 // times extend_ms without a sign of life: the same
)

// holding is a delivery whose handler waits for a reply.
type holding struct {
	*delivery
	life *life
}

// hold has a handler wait, unless one does; nil: none can be made to.
func (c *check) hold(l *life) *holding {
	if c.held != nil && c.held.life == l && !l.session.has(c.held.delivery) {
		return c.held
	}
	c.held = nil
	if c.know(l); c.seen.reads == nil || c.stuck {
		return nil
	}
	d := &delivery{event: attempt(c.seen.reads, 1), hold: true, dry: true}
	d.event.TimeoutMs = uint32(time.Hour.Milliseconds())
	l.session.deliver(d)
	if l.session.until(c.o.Patience, func() bool { return len(d.held) > 0 || !d.over.IsZero() }); l.session.has(d) {
		return nil
	}
	c.held = &holding{d, l}
	return c.held
}

// noReader is why no handler can be made to wait.
func (c *check) noReader(so string) finding {
	switch {
	case c.stuck:
		return none("it does one after the other, which the row parallel tells of")
	case c.seen.loose:
		return none("the reads of its handlers don't name their delivery, %s; the row conflict tells of it", so)
	}
	return none("no handler reads the state, %s", so)
}

// parallel gives the plugin an event while a handler waits. A get may wait for the handler
// of another delivery, so a plugin that does one after the other can wait for itself.
func (c *check) parallel(_ context.Context, l *life) finding {
	const mend = "§3 and §4: start a task for each delivery, or ask for a credit of 1; a get may wait until another handler has ended"
	if l.inFlight() == 1 {
		return none("its credit is 1")
	}
	h := c.hold(l)
	if h == nil {
		return c.noReader("so none can be made to wait")
	}
	d := &delivery{event: c.seen.any}
	if !l.session.finish(c.o.Patience, d) {
		c.stuck = true
		l.kill()
		return fails(mend, "while a handler waited for a reply, an event has not ended within %v", c.o.Patience)
	}
	return ok("an event ended after %s while a handler waited", took(d.over.Sub(d.began)))
}

// has reports whether a delivery has ended.
func (s *session) has(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !d.over.IsZero()
}

// extend waits for the sign of life of a handler that runs.
func (c *check) extend(_ context.Context, l *life) finding {
	h := c.hold(l)
	if h == nil {
		return c.noReader("so none can be made to run for long")
	}
	s := l.session
	limit := time.Until(h.began.Add(stuckWithout * c.o.Extend))
	told := s.until(limit, func() bool { return len(h.extended) > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !told:
		return fails(mendExtend, "a handler has run for %s without an extend: the host counts it as stuck", took(time.Since(h.began)))
	case h.extended[0].Sub(h.began) > c.o.Extend:
		return slowly(mendExtend, "the first extend came after %s", took(h.extended[0].Sub(h.began)))
	}
	return ok("the first one after %s of a handler", took(h.extended[0].Sub(h.began)))
}

// revoke cancels a handler that waits, and lets another run into its time-out.
func (c *check) revoke(_ context.Context, l *life) finding {
	h := c.hold(l)
	if h == nil {
		return c.noReader("so none can be made to run for long")
	}
	s := l.session
	began := time.Now()
	s.revoke(h.delivery)
	limit := stuckAfter + c.o.Patience // what a busy machine may take is in it
	ended := s.await(limit, h.delivery)
	after := time.Since(began)
	s.release(h.delivery)
	c.held = nil
	if !ended {
		if !s.await(c.o.Patience, h.delivery) {
			defer l.kill() // its handler is lost
		}
		return fails(mendRevoke, "a revoked handler went on for %v: its lane waits, and in the end the host kills the process", limit)
	}
	const brief = 500 * time.Millisecond
	late := &delivery{event: attempt(c.seen.reads, 1), hold: true, dry: true}
	late.event.TimeoutMs = uint32(brief.Milliseconds())
	byItself := s.finish(brief+limit, late)
	s.release(late)
	found := fmt.Sprintf("a revoked handler ended after %s with %s", took(after), says(h.result))
	for _, d := range []*delivery{h.delivery, late} {
		if byItself && d.result.GetCode() == wire.Result_DONE {
			return warns("§4: a handler that was cancelled is a RETRY, with an error that says so. Never answer DONE because nothing better is known: the event is lost", "a handler that waited for a reply ended with %s when it was cancelled", says(d.result))
		}
	}
	if !byItself {
		s.await(c.o.Patience, late)
		return warns(mendRevoke, "%s; one with %v of time went on without a revoke", found, brief)
	}
	return ok("%s; one with %v of time after %s", found, brief, took(late.over.Sub(late.began)))
}

// revoke tells the plugin to cancel a delivery's handler.
func (s *session) revoke(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.revoked = true
	for number, out := range s.out {
		if out == d {
			s.send(&wire.HostFrame{Revoke: []uint64{number}})
		}
	}
}
