package ledger

import (
	"fmt"

	"balhost/host/internal/entry"
)

// Settle ends one handing out of an event, and commits with it all that its handler
// did (P7). Whatever the verdict is, it counts only if nothing of Changes.Reads and
// Changes.Ranges has changed. done gets nil after the commit, or why nothing was stored: entry.ErrLease,
// ErrConflict, ErrExists, ErrTooLarge or ErrClosed. What s points to belongs to the
// ledger from now on.
func (l *Ledger) Settle(s entry.Settlement, done func(error)) {
	l.put(&settle{Settlement: s, l: l}, done)
}

type settle struct {
	entry.Settlement
	l    *Ledger
	ends bound
}

func (o *settle) weigh() (bytes, records int) {
	bytes, records = weighChanges(o.Plugin, o.Changes)
	if o.Verdict == entry.Done {
		more, extra := o.ends.weigh(o.l, o.Plugin, o.Changes)
		bytes, records = bytes+more, records+extra
	}
	if o.Verdict == entry.Dead || o.Verdict == entry.Again {
		bytes += o.l.weight(&o.l.events, o.Seq)
	}
	return bytes + 8*recordExtra + maxNote + 2*maxName + 2*triesBytes, records + 5
}

func (o *settle) apply(b *batch) error {
	ev := b.event(o.Seq)
	if ev == nil || ev.over || b.l.leases.of(o.Seq) != o.Lease || b.void(ev) != (o.Verdict == entry.Void) { // P5
		return entry.ErrLease
	}
	switch o.Verdict {
	case entry.Done:
		had := len(b.newest)
		if err := b.change(o.Plugin, o.Changes, ev); err != nil {
			return err
		}
		b.finish(ev, &o.Settlement, b.newest[had:])
	case entry.Void:
		b.endEvent(ev)
	case entry.Again:
		return b.again(ev)
	case entry.Retry, entry.Dead:
		if err := b.checkReads(o.Plugin, o.Changes); err != nil {
			return err
		}
		if o.Verdict == entry.Dead {
			return b.kill(ev, &o.Settlement)
		}
		b.retry(ev, &o.Settlement)
	default:
		return fmt.Errorf("settle event %d: verdict %d is none", o.Seq, o.Verdict)
	}
	return nil
}

// finish ends a handled event and leaves its summary. made are the downstreams that its
// handler has made.
func (b *batch) finish(ev *event, s *entry.Settlement, made []*downstream) {
	last := b.attempt(s.Attempt, ev.attempts+1, "")
	sum := summary{
		kind: ev.kind, id: ev.id, attempts: int(ev.attempts) + 1, lane: ev.lane, session: ev.session.Value(), device: ev.device, target: ev.target,
		category: ev.category.Value(), plugin: clip(s.Plugin, maxName), messageID: ev.messageID, cause: ev.cause, trace: traceOf(ev.trace),
		version: last.version, began: last.began, took: last.took, past: b.past(ev.at()),
		timers: len(s.Changes.Schedules) > 0,
	}
	if n := len(made); n > 0 {
		sum.made, sum.madeFrom, sum.madeTo = n, made[0].seq, made[n-1].seq
	}
	b.endEvent(ev)
	b.sumUp(sum)
	b.tally.counts.Handled++
	b.tally.finished++
}

// retry keeps an event for another attempt. Its lease ends with the commit.
func (b *batch) retry(ev *event, o *entry.Settlement) {
	s := tries{attempts: ev.attempts + 1, due: b.until(o.Due), note: clip(o.Reason, maxNote)}
	s.past = remember(b.past(ev.at()), b.attempt(o.Attempt, s.attempts, o.Reason))
	b.keep(ev.seq, s)
	ev.page.tried, ev.kept, ev.over = true, true, true // over until the commit: its lease is spent
	b.l.leases.set(ev.seq, 0)
	b.effects = append(b.effects, effect{event: ev, what: later, due: s.due, attempts: s.attempts})
}

// again moves an event to the end of its lane, with attempts 0 and the same id.
func (b *batch) again(ev *event) error {
	e, _, err := b.envelope(ev)
	if err != nil {
		return err
	}
	b.addEvent(e.loosened())
	b.endEvent(ev)
	return nil
}

// envelope reads what a pending event is, and its record without the format byte.
func (b *batch) envelope(ev *event) (e envelope, raw lent, err error) {
	record, err := b.entry(kindEvent, ev.page, ev.seq)
	return b.opened(record, err)
}

// opened is the envelope in the record of a pending event.
func (b *batch) opened(record reader, err error) (envelope, lent, error) {
	if err != nil {
		b.fail(err)
		return envelope{}, nil, entry.ErrClosed
	}
	raw := record.b
	e := readEnvelope(&record)
	if b.fail(record.done()); b.err != nil {
		return envelope{}, nil, entry.ErrClosed
	}
	return e, raw, nil
}

// kill moves an event to the dead letters (P8). The attempt that failed counts.
func (b *batch) kill(ev *event, o *entry.Settlement) error {
	e, raw, err := b.envelope(ev)
	if err != nil {
		return err
	}
	past := remember(b.past(ev.at()), b.attempt(o.Attempt, ev.attempts+1, o.Reason))
	b.bringDead(ev, raw, dead{event: e, attempts: ev.attempts + 1, plugin: clip(o.Plugin, maxName), reason: o.Reason, tries: past})
	return nil
}

// bringDead makes an event a dead letter. raw is its record without the format byte.
func (b *batch) bringDead(ev *event, raw lent, d dead) {
	if b.isDead(d.event.id) { // it was imported while its event waited
		b.tally.counts.Dead--
	}
	d.seq, d.died = ev.seq, b.now
	b.putDead(d, raw)
	b.endEvent(ev)
}

// entry reads a pending entry's record, after the format byte.
func (b *batch) entry(kind byte, p *page, seq uint64) (reader, error) {
	r, found := b.get(b.seqKey(kind, p.seq))
	if !found {
		return reader{}, fmt.Errorf("page %d %w", p.seq, errGone)
	}
	return r.slot(p.seq, seq)
}
