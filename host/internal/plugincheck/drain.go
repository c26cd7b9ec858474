package plugincheck

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"balhost/sdk/wire"
)

// drained is what the drain left for the rows after it.
type drained struct {
	took   time.Duration // from Shutdown to the exit
	killed string        // why it was; "": it exited
	status syscall.WaitStatus
	left   int // processes
}

const (
	mendDrain = "§7: RELEASE what was not begun, cancel handlers at four fifths of timeout_ms, then send drained, and end the stream with status OK"
	mendExit  = "§7: exit with status 0 when GRPCController/Shutdown is called (or at SIGTERM, if the plugin has no such service), within 2 s"
)

// slack is what a machine under load may take beside what the contract allows.
const slack = 2 * time.Second

// drain asks the process to end while it works, and while a handler waits if one can be
// made to.
func (c *check) drain(_ context.Context, l *life) finding {
	h := c.hold(l)
	var ds []*delivery
	for _, k := range kinds4(l.manifest) {
		for i := range l.inFlight() - 1 {
			if k.has && len(ds) < l.inFlight()-1 {
				ds = append(ds, &delivery{event: k.make(c, l, i)})
			}
		}
	}
	s := l.session
	s.deliver(ds...)
	began := time.Now()
	s.drain(c.o.Drain)
	told := s.until(c.o.Drain+c.o.Patience, func() bool { return s.drained })
	after := time.Since(began)
	s.until(c.o.Patience, func() bool { return s.ended })
	f := c.judgeDrain(l, ds, told, after)
	if f.verdict == OK && h != nil {
		f = c.judgeHeld(f, h, after)
	}
	c.shutDown(l)
	return f
}

func (s *session) drain(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.send(&wire.HostFrame{Drain: &wire.Drain{Reason: "the check stops this process", TimeoutMs: uint32(limit.Milliseconds())}})
}

func (c *check) judgeDrain(l *life, ds []*delivery, told bool, after time.Duration) finding {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	open, released := 0, 0
	for _, d := range ds {
		if d.over.IsZero() {
			open++
		} else if d.result.GetCode() == wire.Result_RELEASE {
			released++
		}
	}
	switch {
	case !told && s.ended:
		return fails(mendDrain, "the stream ended without drained: %v", s.why)
	case !told:
		return fails(mendDrain, "no drained within %v, of which it had %v: the host gives up, and what the plugin holds comes again", c.o.Drain+c.o.Patience, c.o.Drain)
	case open > 0 && after > c.o.Drain:
		return slowly(mendDrain, "%s of %d had not ended when the drain's %v were over", plural(open, "delivery", "deliveries"), len(ds), c.o.Drain)
	case open > 0:
		return fails(mendDrain, "%s of %d had not ended when drained came", plural(open, "delivery", "deliveries"), len(ds))
	case !s.ended:
		return fails(mendDrain, "drained came, and the stream has not ended")
	case !errors.Is(s.why, io.EOF):
		return fails(mendDrain, "the stream ended with an error instead of OK: %v", s.why)
	}
	if text, n := c.flaws.of("drain"); n > 0 {
		return fails(mendDrain, "%s", text)
	}
	if after > c.o.Drain+slack {
		return slowly(mendDrain, "drained came after %s; it had %v", took(after), c.o.Drain)
	}
	return ok("drained after %s, with %s in work, of which %d were released", took(after), plural(len(ds), "delivery", "deliveries"), released)
}

// judgeHeld looks at the handler that waited during the drain. It may be given up when the
// drain's time is over.
func (c *check) judgeHeld(f finding, h *holding, after time.Duration) finding {
	h.life.session.mu.Lock()
	defer h.life.session.mu.Unlock()
	switch {
	case !h.over.IsZero() && h.result.GetCode() != wire.Result_RELEASE:
		return warns("§7: what a handler leaves that a drain has cancelled is RELEASE, since that counts no attempt; DONE would lose the event", "a handler that waited for a reply ended with %s when the drain cancelled it", says(h.result))
	case !h.over.IsZero():
		f.found += "; a handler that waited ended with " + h.result.GetCode().String()
	case after < c.o.Drain*9/10:
		return fails(mendDrain, "drained came after %s, while a handler still ran: it has until %v", took(after), c.o.Drain)
	default:
		f.found += "; a handler that waited was given up at the end of the time"
	}
	return f
}

// shutDown ends the process as a host does after a drain.
func (c *check) shutDown(l *life) {
	began := time.Now()
	l.proc.End()
	c.drained = &drained{took: time.Since(began), killed: l.proc.Killed(), status: l.proc.Ended(), left: l.proc.Left()}
	l.bury()
	c.main = nil
}

// exit tells how the drained process ended.
func (c *check) exit(ctx context.Context) finding {
	d := c.drained
	if d == nil {
		if f := with((*check).drain)(c, ctx); c.drained == nil {
			return unknown("%s", f.found)
		}
		d = c.drained
	}
	switch {
	case d.killed != "":
		return fails(mendExit, "it has not exited after Shutdown and SIGTERM within %v each, and was killed", shutWithin)
	case d.took > shutWithin && !d.status.Signaled():
		return slowly(mendExit, "it took %s to exit: the host has sent SIGTERM meanwhile", took(d.took))
	case d.status.Signaled() && d.status.Signal() == syscall.SIGTERM:
		return ok("ended by SIGTERM after %s", took(d.took))
	case d.status.Signaled():
		return fails(mendExit, "it was ended by the signal %v", d.status.Signal())
	case d.status.ExitStatus() != 0:
		return fails(mendExit, "it exited with status %d", d.status.ExitStatus())
	}
	return ok("after %s, with status 0", took(d.took))
}
