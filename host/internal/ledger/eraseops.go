package ledger

import (
	"bytes"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// These are the operations of an erasure. Each looks again whether what was found is still
// there, since others go on meanwhile.

// eraseAtOnce is how many entries one operation ends: few, because each may need a page from
// the disk, which others wait for.
const eraseAtOnce = 32

// eraseEvents ends pending events, and nobody hears of it.
type eraseEvents struct {
	seqs []uint64
	upTo uint64        // later ones are not known to who hands them out, and stay for the next time
	gone []entry.Event // set by apply
	held []held        // set by apply: a handler has them
	left int           // set by apply: that are later than upTo
	l    *Ledger
}

func (o *eraseEvents) weigh() (bytes, records int) {
	return len(o.seqs) * 4 * recordExtra, 4 * len(o.seqs)
}

func (o *eraseEvents) apply(b *batch) error {
	today := b.l.clock.today()
	for _, seq := range o.seqs {
		ev := b.event(seq)
		switch {
		case ev == nil || ev.over:
		case seq > o.upTo:
			o.left++
		case b.l.leases.of(seq) != 0:
			o.held = append(o.held, held{seq, ev.id})
		default:
			o.gone = append(o.gone, ev.public(today))
			b.endEvent(ev)
			b.tally.counts.Erased++
		}
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	return nil
}

// eraseSent ends pending downstreams as canceled, and nobody hears of it. One that has gone out
// is given up too: its answer comes to nothing.
type eraseSent struct {
	seqs []uint64
	did  int // set by apply
}

func (o *eraseSent) weigh() (bytes, records int) {
	return len(o.seqs) * 4 * recordExtra, 5 * len(o.seqs)
}

func (o *eraseSent) apply(b *batch) error {
	for _, seq := range o.seqs {
		d := b.downstream(seq)
		if d == nil || d.over {
			continue
		}
		m := b.parcel(d)
		if m == nil {
			return entry.ErrClosed // b.err says why
		}
		if d.replaces {
			b.unreplace(d, m)
		}
		b.l.claims.giveUp(seq)
		b.del(b.hashKey(kindSent, sumSent(m.Session, m.MessageID)), recordExtra)
		b.endEntry(d.at())
		b.effects = append(b.effects, effect{downstream: d, what: canceledBy})
		b.tally.counts.Canceled++
		b.tally.counts.Downstreams--
		o.did++
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	return nil
}

// giveUp makes a downstream count as canceled, gone out or not.
func (c *claims) giveUp(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[seq] = canceled
}

// erasePages writes pages again without what has ended of them.
type erasePages struct {
	kind  byte
	pages []uint64
	left  []uint64 // set by apply: entries of these have ended in the same commit
}

func (o *erasePages) weigh() (bytes, records int) {
	return len(o.pages) * 2 * pageBytes, 3 * len(o.pages)
}

func (o *erasePages) apply(b *batch) error {
	x := b.l.index(o.kind)
	for _, seq := range o.pages {
		s := x.stub(seq)
		if s == nil || s.seq != seq {
			continue
		}
		if err := b.l.load(x, s); err != nil {
			b.fail(err)
			return entry.ErrClosed
		}
		switch p := s.page; {
		case p.touched:
			o.left = append(o.left, seq)
		case p.live > 0 && p.live < p.n:
			b.squeeze(p)
		}
	}
	return nil
}

// eraseTimers removes timers that wait.
type eraseTimers struct {
	timers []waitingTimer
	did    int // set by apply
}

type waitingTimer struct {
	plugin, key string
	at          dueAt
}

func (o *eraseTimers) weigh() (bytes, records int) {
	return len(o.timers) * 3 * (maxName + recordExtra), 2 * len(o.timers)
}

func (o *eraseTimers) apply(b *batch) error {
	for _, t := range o.timers {
		if n, name, found := b.timer(t.plugin, t.key); found && n.event == 0 && n.at.due == t.at.due && n.at.seq == t.at.seq {
			b.unwait(n.at)
			b.del(name, recordExtra)
			o.did++
		}
	}
	if b.err != nil {
		return entry.ErrClosed
	}
	return nil
}

// eraseSummaries writes a record of summaries again, without those of a device.
type eraseSummaries struct {
	key   []byte
	bytes int
	m     *matcher
	did   int // set by apply
}

func (o *eraseSummaries) weigh() (bytes, records int) {
	return o.bytes + summaryBytes, 1 + o.bytes/recordExtra
}

func (o *eraseSummaries) apply(b *batch) error {
	r, found := b.get(o.key)
	if !found {
		return nil // it was purged
	}
	var w summaries
	w.buf = append(w.buf, formatLife)
	at := r.ended()
	for _, s := range r.summaries() {
		if !o.m.summary(s, b.sentTo) {
			w.buf = appendSummary(w.buf, at, &w.last, &s)
			w.last = s.after(&w.last)
			w.n++
			continue
		}
		o.did++
		if s.kind != 0 {
			b.tally.finished--
		} else {
			b.tally.outcomes--
			b.del(b.hashKey(kindSent, sumSent(s.session, s.messageID)), recordExtra)
		}
	}
	if b.fail(r.done()); b.err != nil {
		return entry.ErrClosed
	}
	switch {
	case o.did == 0:
	case w.n == 0:
		b.del(o.key, o.bytes)
	default:
		w.buf = sealRecord(w.buf, 0, o.key)
		b.put(state.Change{Key: o.key, Value: w.buf})
	}
	return nil
}

// sentTo is the hash of the target of a downstream; 0: nobody knows.
func (b *batch) sentTo(session, messageID string) uint64 {
	s, _ := b.sent(session, messageID)
	return s.target
}

// rewrite makes a commit that changes nothing: it writes a record as it is.
type rewrite struct{ key []byte }

func (o *rewrite) weigh() (bytes, records int) { return 2 * recordExtra, 1 }

func (o *rewrite) apply(b *batch) error {
	value, found, err := b.store.Get(o.key)
	if b.fail(err); err != nil || !found {
		return entry.ErrClosed
	}
	b.put(state.Change{Key: o.key, Value: bytes.Clone(value)})
	return nil
}
