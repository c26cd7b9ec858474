package ledger

import (
	"cmp"
	"fmt"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/sdk/message"
)

// Finish ends a downstream and records its outcome. When Send.Tell was set, the
// outcome is an event for the owner, in the same commit (P4). done gets nil,
// entry.ErrUnknown when the downstream has ended before, or entry.ErrClosed.
func (l *Ledger) Finish(e entry.End, done func(error)) {
	e.Code, e.Description, e.NewToken = clip(e.Code, maxNote), clip(e.Description, maxNote), clip(e.NewToken, 4*maxNote)
	l.put(&finish{e, l}, done)
}

// Postpone keeps a downstream for another attempt. done gets what Finish's gets.
func (l *Ledger) Postpone(p entry.Postponement, done func(error)) { l.put(&postpone{p}, done) }

type finish struct {
	entry.End
	l *Ledger
}

func (o *finish) weigh() (bytes, records int) {
	bytes = 2 * o.l.weight(&o.l.sent, o.Seq)
	return bytes + 8*maxNote + triesBytes + 5*recordExtra + spanBytes, 6
}

func (o *finish) apply(b *batch) error {
	d := b.downstream(o.Seq)
	if d == nil || d.over {
		return entry.ErrUnknown
	}
	if b.outcomeCount(o.Status) == nil {
		return fmt.Errorf("finish: %d is no way to end", o.Status)
	}
	b.conclude(d, o.End, ended)
	if b.err != nil {
		return entry.ErrClosed
	}
	return nil
}

// conclude ends a downstream: it is no longer pending, has a summary, and its owner hears
// of it (P4), if it was not forgotten. how is ended, or canceledBy if the ledger ends it by itself.
func (b *batch) conclude(d *downstream, e entry.End, how what) {
	m, told := d.body, d.tell && !b.untold(d.owner, d.seq)
	if told || d.replaces {
		if m = b.parcel(d); m == nil {
			return // b.err says why
		}
	}
	if b.watched {
		b.sayDownstream(d, m, feed.Step{What: feed.What(e.Status.String()), Attempt: e.Attempts, Code: e.Code, Error: e.Description})
	}
	if d.replaces {
		b.unreplace(d, m)
	}
	if told {
		b.tell(d, m, e)
	} else if d.tell {
		b.tally.untold++
	}
	last := b.attempt(e.Last, uint32(max(0, e.Attempts)), "")
	past := b.past(d.at())
	b.endEntry(d.at())
	b.effects = append(b.effects, effect{downstream: d, what: how})
	b.sumUp(summary{
		seq: d.seq, status: e.Status, code: e.Code, detail: e.Description, attempts: e.Attempts, lane: d.group, device: d.target, target: d.to,
		session: d.session.Value(), plugin: d.owner.Value(), messageID: d.messageID, cause: d.cause, trace: traceOf(d.trace), receipt: d.receipt, told: told,
		accepted: d.accepted, began: last.began, took: last.took, via: last.via, past: past,
	})
	*b.outcomeCount(e.Status)++
	b.tally.counts.Downstreams--
	b.tally.outcomes++
}

// outcomeCount is the counter of a way to end; nil: it is none.
func (b *batch) outcomeCount(s message.OutcomeStatus) *uint64 {
	switch s {
	case message.Acked:
		return &b.tally.counts.Acked
	case message.Failed:
		return &b.tally.counts.Failed
	case message.Expired:
		return &b.tally.counts.Expired
	case message.Canceled:
		return &b.tally.counts.Canceled
	}
	return nil
}

// parcel returns a pending downstream's message, nil when it cannot be read.
func (b *batch) parcel(d *downstream) *message.Checked {
	if d.body != nil {
		return d.body
	}
	r, err := b.entry(kindDownstream, d.page, d.seq)
	if err != nil {
		b.fail(err)
		return nil
	}
	p := readParcel(&r)
	b.fail(r.done())
	return p.message
}

// tell makes the outcome an event for the plugin that sent the message.
func (b *batch) tell(d *downstream, m *message.Checked, end entry.End) {
	b.tally.lastID = nextID(b.tally.lastID, b.now, b.entropy)
	outcome := envelope{
		id: b.tally.lastID, plugin: d.owner.Value(), group: d.group, trace: cmp.Or(end.Trace, d.trace),
		body: &message.Outcome{
			Session: m.Session, MessageID: m.MessageID, Group: m.Group, To: m.To, Status: end.Status, Code: end.Code,
			Description: end.Description, NewToken: end.NewToken, Gone: end.Gone, Attempts: end.Attempts, Context: m.Context,
		},
	}
	b.addEvent(outcome)
	if b.watched {
		b.sayEvent(feed.Stored, outcome, "")
	}
}

type postpone struct{ entry.Postponement }

func (o *postpone) weigh() (bytes, records int) { return maxNote + triesBytes + recordExtra, 1 }

func (o *postpone) apply(b *batch) error {
	d := b.downstream(o.Seq)
	if d == nil || d.over {
		return entry.ErrUnknown
	}
	s := tries{attempts: uint32(max(0, o.Attempts)), due: b.until(o.Due), note: clip(o.Tried.Code, maxNote)}
	s.past = remember(b.past(d.at()), b.attempt(o.Tried, uint32(max(0, o.Tried.Number)), o.Tried.Error))
	b.keep(o.Seq, s)
	d.page.tried, d.kept = true, true
	b.effects = append(b.effects, effect{downstream: d, what: later, due: s.due, attempts: s.attempts})
	if b.watched {
		b.sayDownstream(d, d.body, feed.Step{What: feed.Postponed, Attempt: int(s.attempts), Due: o.Due, Code: s.note})
	}
	return nil
}
