package dispatch

import (
	"errors"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/span"
)

// attemptSpan is the span of one handing out of an event that is traced. Its children are
// the plugin's own spans, and what the handler makes.
type attemptSpan struct {
	is      entry.TraceSpan
	parent  [8]byte
	started time.Time
}

// attempting begins the span of a handing out; nil: it is not traced.
func (d *Dispatcher) attempting(body *entry.Body, now time.Time) *attemptSpan {
	if !d.o.Tracer.On() {
		return nil
	}
	is := span.Handler(body.Trace)
	if is == nil {
		return nil
	}
	return &attemptSpan{is: *is, parent: body.Trace.ID, started: now}
}

// traceparent is what the plugin is told of the trace; "" if the host makes none.
func (d *Dispatcher) traceparent(out *delivery) string {
	switch {
	case !d.o.Tracer.On():
		return ""
	case out.trace == nil:
		return span.Traceparent(nil, out.about.id)
	}
	return span.Traceparent(&out.trace.is, "")
}

// unsampled is what a plugin sends of which it says that it is not to be traced.
var unsampled = &entry.TraceSpan{}

// sentBy is the span that a downstream off the wire names; nil: none.
func (d *Dispatcher) sentBy(traceparent string) *entry.TraceSpan {
	if traceparent == "" || !d.o.Tracer.On() {
		return nil
	}
	switch is, sampled, ok := span.Parse(traceparent); {
	case !ok:
		return nil
	case sampled:
		return &is
	}
	return unsampled
}

// below puts what a handler makes below its span, unless the handler has named one of its own.
func (t *attemptSpan) below(c *entry.Changes) {
	if t == nil {
		return
	}
	for i := range c.Sends {
		s := &c.Sends[i]
		if s.Trace == nil || s.Trace == unsampled {
			s.Trace = &t.is
		}
		s.Trace.Hops = t.is.Hops
	}
	for i := range c.Schedules {
		c.Schedules[i].Trace = &t.is
	}
}

// traceReturned tells the span of an event that came back from a process without a result.
func (d *Dispatcher) traceReturned(in *Instance, out *delivery, why string) {
	if out.trace == nil {
		return
	}
	now := time.Now()
	d.traceAttempt(in, out.trace, out.lane.head(), out.about, "returned", why, now)
}

// verdicts are what became of an attempt.
var verdicts = map[entry.Verdict]string{
	entry.Done: "handled", entry.Retry: "retried", entry.Dead: "dead", entry.Void: "canceled", entry.Again: "again",
}

// traceEnd tells the span of the attempt that e ends, whose commit has ended with err. It is
// called before the lane moves on. A second commit of the same end tells none.
func (d *Dispatcher) traceEnd(in *Instance, e *ending, err error) {
	t := e.trace
	if t == nil || errors.Is(err, entry.ErrClosed) { // the event is pending, and comes again after a start
		return
	}
	e.trace = nil
	result, why := verdicts[e.Verdict], e.Reason
	switch {
	case errors.Is(err, entry.ErrConflict):
		result = "conflict"
	case err != nil:
		result, why = "refused", err.Error()
	}
	ended := t.started.Add(e.took)
	d.traceAttempt(in, t, e.lane.head(), e.about, result, why, ended)
	if err == nil && e.Verdict == entry.Done {
		d.o.Tracer.Tell(span.Done{Name: "commit", Is: *span.Child(&t.is), Parent: t.is.ID, Start: ended, End: time.Now()})
	}
}

func (d *Dispatcher) traceAttempt(in *Instance, t *attemptSpan, head *entry.Event, about subject, result, why string, ended time.Time) {
	facts := make([]span.Fact, 0, 10)
	facts = span.Text(facts, "messaging.message.id", about.messageID)
	facts = span.Text(facts, "balhost.event", about.id)
	facts = span.Text(facts, "balhost.session", head.Session)
	facts = span.Text(facts, "balhost.category", head.Category)
	facts = span.Text(facts, "balhost.plugin", in.Name)
	facts = span.Text(facts, "balhost.plugin.version", in.Version)
	facts = span.Number(facts, "balhost.attempt", head.Attempts+1)
	facts = span.Text(facts, "balhost.result", result)
	facts = span.Device(facts, about.device)
	d.o.Tracer.Tell(span.Done{
		Name: "handle " + head.Kind.String(), Kind: span.Consumer, Is: t.is, Parent: t.parent, Start: t.started, End: ended,
		Facts: facts, Error: span.Why(why, about.device),
	})
}
