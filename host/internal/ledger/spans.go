package ledger

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/span"
)

// The spans that the ledger tells: a message was received, or a downstream was made, and how
// long its commit took. Operations add them while they are applied. They are told when the
// commit is on disk, so a message that was not stored has none.

// received is what is known of an upstream that came in and is traced. Receipts are not: what
// they are of does not keep its trace so long.
type received struct {
	is     *entry.TraceSpan
	parent [8]byte // its device's span; zero: none
	at     time.Time
	via    string
}

// receive decides whether an upstream that has just come is traced; nil: it is not.
func (l *Ledger) receive(in *entry.Inbound) *received {
	is, parent := l.o.Tracer.Begin(in.Traceparent)
	if is == nil {
		return nil
	}
	return &received{is: is, parent: parent, at: time.Now(), via: string(in.Via)}
}

// traceReceived adds the spans of a message that this commit stores.
func (b *batch) traceReceived(r *received, e *envelope, why string) {
	about := stepOf(e.body)
	facts := make([]span.Fact, 0, 8)
	facts = span.Text(facts, "messaging.message.id", about.MessageID)
	facts = span.Text(facts, "balhost.event", e.id.String())
	facts = span.Text(facts, "balhost.session", about.Session)
	facts = span.Text(facts, "balhost.transport", r.via)
	facts = span.Text(facts, "balhost.category", about.Category)
	facts = span.Device(facts, about.Device)
	b.spans = append(b.spans, span.Done{
		Name: "receive " + about.Kind, Kind: span.Server, Is: *r.is, Parent: r.parent, Start: r.at, Facts: facts, Error: span.Why(why, about.Device),
	})
	b.traceCommit(r.is)
}

// traceCommit adds the span of the commit below another.
func (b *batch) traceCommit(parent *entry.TraceSpan) {
	b.spans = append(b.spans, span.Done{Name: "commit", Is: *span.Child(parent), Parent: parent.ID, Start: b.real})
}

// makes is the span of a downstream that is new, and its parent; nil: it is not traced. One
// that no handler has made may begin a trace.
func (b *batch) makes(s *entry.Send, by *event) (is *entry.TraceSpan, parent [8]byte) {
	switch {
	case s.Trace != nil && s.Trace.Trace == [16]byte{}: // who sends it says so
		return nil, parent
	case s.Trace != nil:
		return span.Child(s.Trace), s.Trace.ID
	case by == nil:
		return b.l.o.Tracer.Begin("")
	}
	return nil, parent
}

// traceMade adds the span of a downstream that this commit stores.
func (b *batch) traceMade(s *toSend) {
	p := &s.parcel
	facts := make([]span.Fact, 0, 6)
	facts = span.Text(facts, "messaging.message.id", p.message.MessageID)
	facts = span.Text(facts, "balhost.session", p.message.Session)
	facts = span.Text(facts, "balhost.plugin", p.owner)
	facts = span.Device(facts, feed.Target(p.message.To))
	b.spans = append(b.spans, span.Done{Name: "create downstream", Kind: span.Producer, Is: *p.trace, Parent: s.parent, Start: b.real, Facts: facts})
}

// SentTrace is what made a pending downstream; nil if it is not traced, or has ended.
func (l *Ledger) SentTrace(seq uint64) (is *entry.TraceSpan) {
	if l.peek(&l.sent, seq, func(_ uint64, it item) { is = it.(*downstream).trace }) != nil {
		return nil // whoever needs the downstream hears of the error
	}
	return is
}

// traceAll tells the spans of a commit that is on disk.
func (b *batch) traceAll() {
	if len(b.spans) == 0 {
		return
	}
	now := time.Now()
	for i := range b.spans {
		b.spans[i].End = now
		b.l.o.Tracer.Tell(b.spans[i])
	}
}

// traceOf is the id of a span's trace; zero for nil.
func traceOf(s *entry.TraceSpan) (id [16]byte) {
	if s != nil {
		id = s.Trace
	}
	return id
}
