package outbox

import (
	"cmp"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/host/internal/span"
)

// follow notes what made an item that is handed out, if it is traced. An item has no room for
// that: there are very many, and few are traced.
func (b *Outbox) follow(it *item) {
	is := b.o.TraceOf(it.Seq)
	if is == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if it.state == taken { // else it was answered already
		b.traced[it.Seq] = is
	}
}

// traceSent tells the span of an item's last sending, which ends now: it was answered, or its
// connection has ended. It returns the span, below which the outcome comes; nil: there is none. The
// caller holds mu, and has not put the item back yet.
func (b *Outbox) traceSent(it *item, a flow.Answer, now time.Time) *entry.TraceSpan {
	from := b.traced[it.Seq]
	if from == nil || it.last == 0 {
		return nil
	}
	try, is := it.tried(now), span.Child(from)
	facts := make([]span.Fact, 0, 8)
	facts = span.Text(facts, "messaging.message.id", it.MessageID)
	facts = span.Text(facts, "balhost.session", it.Session)
	facts = span.Text(facts, "balhost.plugin", it.Owner)
	facts = span.Text(facts, "balhost.transport", try.Via)
	facts = span.Number(facts, "balhost.attempt", try.Number)
	facts = span.Text(facts, "balhost.code", a.Code)
	failed := ""
	if a.Verdict != flow.Acked {
		failed = cmp.Or(a.Code, a.Verdict.String()) // no more of the peer's words: they could name the device
		facts = span.Text(facts, "balhost.result", a.Verdict.String())
	}
	b.o.Tracer.Tell(span.Done{
		Name: "send downstream", Kind: span.Client, Is: *is, Parent: from.ID, Start: try.Began, End: now, Facts: facts, Error: span.Why(failed, ""),
	})
	return is
}
