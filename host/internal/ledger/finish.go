package ledger

import (
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Finish ends a downstream and records its outcome. When Send.Tell was set, the
// outcome is an event for the owner, in the same commit (P4). done gets nil,
// entry.ErrUnknown when the downstream has ended before, or entry.ErrClosed.
func (l *Ledger) Finish(e entry.End, done func(error)) {
	e.Code, e.Description, e.NewToken = clip(e.Code, maxNote), clip(e.Description, maxNote), clip(e.NewToken, 4*maxNote)
	l.put(&finish{e, l}, done)
}

// Postpone keeps a downstream until due. attempts and code replace those of before.
// done gets what Finish's gets.
func (l *Ledger) Postpone(seq uint64, due time.Time, attempts int, code string, done func(error)) {
	l.put(&postpone{seq, due, tries{attempts: uint32(max(0, attempts)), note: clip(code, maxNote)}}, done)
}

type finish struct {
	entry.End
	l *Ledger
}

func (o *finish) weigh() (bytes, records int) {
	bytes = 2 * o.l.weight(&o.l.sent, o.Seq)
	return bytes + 8*maxNote + 4*recordExtra, 5
}

func (o *finish) apply(b *batch) error {
	d := b.downstream(o.Seq)
	if d == nil || d.over {
		return entry.ErrUnknown
	}
	count, err := b.outcomeCount(o.Status)
	if err != nil {
		return err
	}
	if d.tell {
		m := b.parcel(d)
		if m == nil {
			return entry.ErrClosed // b.err says why
		}
		b.tell(d, m, o.End)
	}
	b.endDownstream(d)
	b.sumUp(summary{
		seq: d.seq, status: o.Status, code: o.Code, detail: o.Description, attempts: o.Attempts, lane: d.group,
		session: d.session.Value(), plugin: d.owner.Value(), messageID: d.messageID,
	})
	*count++
	b.tally.outcomes++
	return nil
}

// endDownstream takes a downstream out of what is pending.
func (b *batch) endDownstream(d *downstream) {
	b.endEntry(d.at())
	b.tally.counts.Downstreams--
	b.effects = append(b.effects, effect{downstream: d, what: ended})
}

// outcomeCount is the counter of a way to end.
func (b *batch) outcomeCount(s message.OutcomeStatus) (*uint64, error) {
	switch s {
	case message.Acked:
		return &b.tally.counts.Acked, nil
	case message.Failed:
		return &b.tally.counts.Failed, nil
	case message.Expired:
		return &b.tally.counts.Expired, nil
	}
	return nil, fmt.Errorf("finish: %d is no way to end", s)
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
	b.addEvent(envelope{
		id: b.tally.lastID, plugin: d.owner.Value(), group: d.group,
		body: &message.Outcome{
			Session: m.Session, MessageID: m.MessageID, Group: m.Group, To: m.To, Status: end.Status, Code: end.Code,
			Description: end.Description, NewToken: end.NewToken, Gone: end.Gone, Attempts: end.Attempts, Context: m.Context,
		},
	})
}

type postpone struct {
	seq   uint64
	due   time.Time
	tries tries
}

func (o *postpone) weigh() (bytes, records int) { return maxNote + recordExtra, 1 }

func (o *postpone) apply(b *batch) error {
	d := b.downstream(o.seq)
	if d == nil || d.over {
		return entry.ErrUnknown
	}
	o.tries.due = b.until(o.due)
	b.keep(o.seq, o.tries)
	d.page.tried, d.kept = true, true
	b.effects = append(b.effects, effect{downstream: d, what: later, due: o.tries.due, attempts: o.tries.attempts})
	return nil
}
