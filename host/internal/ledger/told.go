package ledger

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/sdk/message"
)

// What the ledger tells those who watch. The operations add the steps while they are
// applied; they are told when the commit is on disk, before anybody acts on it.

// tellAll tells the steps and the spans of a commit.
func (b *batch) tellAll() {
	b.traceAll()
	for i := range b.steps {
		b.l.o.Feed.Tell(b.steps[i])
	}
}

// say adds a step. Callers ask b.watched first.
func (b *batch) say(s feed.Step) { b.steps = append(b.steps, s) }

// sayEvent adds a step of an event with its body.
func (b *batch) sayEvent(what feed.What, e envelope, why string) {
	s := stepOf(e.body)
	s.What = what
	if !e.id.IsZero() { // a duplicate has none
		s.ID = e.id.String()
	}
	if why != "" {
		s.Error = why
	}
	if s.Plugin == "" {
		s.Plugin = e.plugin
	}
	b.say(s)
}

// stepOf is what the body of an event says about a step.
func stepOf(body any) feed.Step {
	switch m := body.(type) {
	case *message.Upstream:
		s := feed.Step{Kind: feed.Upstream, MessageID: m.MessageID, Session: m.Session, Device: m.From, Category: m.Category, Payload: m.Data}
		if len(m.Data) == 0 {
			s.Payload = m.Raw
		}
		return s
	case *message.Outcome:
		return feed.Step{Kind: feed.Outcome, MessageID: m.MessageID, Session: m.Session, Device: feed.Target(m.To), Code: m.Code, Error: m.Description, Payload: m.Context}
	case *inboundReceipt:
		return feed.Step{Kind: feed.Receipt, MessageID: m.OriginalMessageID, Session: m.Session, Device: m.Device, Category: m.Category, Code: m.Status}
	case *timer:
		return feed.Step{Kind: feed.Timer, MessageID: m.Key, Session: m.Session, Device: m.Device, Plugin: m.plugin, Payload: m.Data}
	}
	return feed.Step{}
}

// inbound is the body of what came in.
func (o *acceptOp) inbound() any {
	if o.upstream != nil {
		return o.upstream
	}
	return o.receipt
}

// sayDownstream adds a step of a downstream. Its message m is nil if it is not in memory any
// more; then the step has no device.
func (b *batch) sayDownstream(d *downstream, m *message.Checked, with feed.Step) {
	with.Kind, with.MessageID = feed.Downstream, d.messageID
	with.Session, with.Plugin = d.session.Value(), d.owner.Value()
	if m != nil {
		with.Device, with.Payload = feed.Target(m.To), m.Data
	}
	b.say(with)
}

// sayTimer adds a step of a timer that was set or canceled.
func (b *batch) sayTimer(plugin string, s *entry.Schedule) {
	step := feed.Step{What: feed.Set, Kind: feed.Timer, MessageID: s.Key, Session: s.Session, Device: s.Device, Plugin: plugin, Due: s.At, Payload: s.Data}
	if s.Cancel {
		step.What, step.Due, step.Payload = feed.Canceled, time.Time{}, nil
	}
	b.say(step)
}
