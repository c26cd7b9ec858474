package dispatch

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
)

// What dispatch tells those who watch: what becomes of events at their plugins. Whoever
// calls these has asked Feed.On first.

// stepAt is a step of the event at the head of a lane.
func stepAt(in *Instance, head *entry.Event, about subject) feed.Step {
	return feed.Step{
		Kind: head.Kind.String(), ID: about.id, MessageID: about.messageID, Session: head.Session, Device: about.device, Category: head.Category,
		Plugin: in.Name, Version: in.Version, Attempt: head.Attempts + 1,
	}
}

// handed is the step that an event goes to a process.
func handed(in *Instance, out *delivery, body entry.Body) feed.Step {
	s := stepAt(in, out.lane.head(), out.about)
	s.What = feed.Handed
	switch {
	case body.Upstream != nil:
		s.Payload = body.Upstream.Data
	case body.Outcome != nil:
		s.Code, s.Payload = body.Outcome.Code, body.Outcome.Context
	case body.Receipt != nil:
		s.Code = body.Receipt.Status
	case body.Timer != nil:
		s.Payload = body.Timer.Data
	}
	return s
}

// tell tells what became of the event that e ends. It is called before the lane moves on.
func (d *Dispatcher) tell(what feed.What, in *Instance, e *ending) {
	if !d.o.Feed.On() {
		return
	}
	s := stepAt(in, e.lane.head(), e.about)
	s.What, s.Took, s.Due, s.Error = what, milliseconds(e.took), e.Due, e.Reason
	d.o.Feed.Tell(s)
}

// tellReturned tells that an event came back from a process without a result.
func (d *Dispatcher) tellReturned(in *Instance, out *delivery, why string) {
	d.traceReturned(in, out, why)
	if !d.o.Feed.On() {
		return
	}
	s := stepAt(in, out.lane.head(), out.about)
	s.What, s.Took, s.Error = feed.Returned, milliseconds(time.Since(out.started)), why
	d.o.Feed.Tell(s)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
