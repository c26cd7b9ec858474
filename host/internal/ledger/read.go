package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// changed is a hint that can be waited for. fire closes the channel, and the next wait
// makes a new one. Ledger.mu guards it.
type changed struct{ c chan struct{} }

func (c *changed) wait() <-chan struct{} {
	if c.c == nil {
		c.c = make(chan struct{})
	}
	return c.c
}

func (c *changed) fire() {
	if c.c != nil {
		close(c.c)
		c.c = nil
	}
}

// Events returns up to max pending events with a seq greater than after, in seq order.
// Their times are those of today's wall clock. It reads events deep in a backlog from
// the disk.
func (l *Ledger) Events(after uint64, max int) []entry.Event {
	today := l.clock.today()
	out := make([]entry.Event, 0, l.room(&l.events, after, max))
	err := l.each(&l.events, after, max, func(it item) { out = append(out, it.(*event).public(today)) })
	l.unreadable(err)
	return out
}

// room returns how many entries with a seq greater than after there can be, at most max.
func (l *Ledger) room(x *index, after uint64, max int) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if after >= l.tally.seq {
		return 0
	}
	return int(min(uint64(min(max, x.live)), l.tally.seq-after))
}

// unreadable poisons the ledger when a pending entry can't be read. Otherwise nobody
// would ever hear of that entry (P8).
func (l *Ledger) unreadable(err error) {
	if err != nil && !errors.Is(err, entry.ErrClosed) {
		l.poison(err)
	}
}

// EventsChanged returns a channel that is closed when events come, go, or are
// due at another time. Call it before Events, so that no change is missed.
func (l *Ledger) EventsChanged() <-chan struct{} { return l.changed(&l.eventsChanged) }

// Downstreams returns up to max pending downstreams with a seq greater than after, in seq
// order. Their times are those of today's wall clock. It reads downstreams deep in a
// backlog from the disk.
func (l *Ledger) Downstreams(after uint64, max int) []entry.Downstream {
	today := l.clock.today()
	out := make([]entry.Downstream, 0, l.room(&l.sent, after, max))
	err := l.each(&l.sent, after, max, func(it item) { out = append(out, it.(*downstream).public(today)) })
	l.unreadable(err)
	return out
}

// DownstreamsChanged is to Downstreams what EventsChanged is to Events.
func (l *Ledger) DownstreamsChanged() <-chan struct{} { return l.changed(&l.sentChanged) }

func (l *Ledger) changed(c *changed) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.wait()
}

// Body returns the content of a pending event, entry.ErrUnknown, or entry.ErrVoid. Its bytes
// are shared and must not be changed. It reads the disk if memory does not have the body.
func (l *Ledger) Body(seq uint64) (entry.Body, error) {
	var e envelope
	var attempt int
	var page uint64
	err := l.peek(&l.events, seq, func(first uint64, it item) {
		ev := it.(*event)
		e = envelope{id: ev.id, body: ev.body, trace: ev.trace}
		attempt = int(ev.attempts) + 1
		page = first
	})
	if err == nil && e.body == nil {
		err = l.readEntry(kindEvent, page, seq, func(r *reader) { e = readEnvelope(r) })
	}
	if errors.Is(err, errGone) || errors.Is(err, entry.ErrUnknown) {
		return entry.Body{}, entry.ErrUnknown // perhaps it ended meanwhile
	} else if err != nil {
		return entry.Body{}, fmt.Errorf("read event %d: %w", seq, err)
	}
	if t, is := e.body.(*timer); is {
		if void, err := l.isVoid(seq, t); err != nil {
			return entry.Body{}, fmt.Errorf("read event %d: %w", seq, err)
		} else if void {
			return entry.Body{}, entry.ErrVoid
		}
	}
	return e.public(l.clock, attempt), nil
}

// EventSince returns when a pending event was stored, by the wall clock as it is set now:
// for people and metrics. It is zero if the event is not pending any more.
func (l *Ledger) EventSince(seq uint64) (since time.Time) {
	if l.peek(&l.events, seq, func(_ uint64, it item) { since = ulid.Time(it.(*event).id.Time()) }) != nil {
		return time.Time{} // whoever needs its body hears of the error
	}
	return l.clock.shown(since)
}

// DownstreamSince returns from when on a pending downstream could go, as EventSince does:
// when it was stored, or its NotBefore.
func (l *Ledger) DownstreamSince(seq uint64) time.Time {
	var since time.Time
	var page uint64
	err := l.peek(&l.sent, seq, func(first uint64, _ item) { page = first })
	if err == nil {
		err = l.readEntry(kindDownstream, page, seq, func(r *reader) {
			p := readParcel(r)
			if since = p.accepted; p.notBefore.After(since) {
				since = p.notBefore
			}
		})
	}
	if err != nil {
		return time.Time{}
	}
	return l.clock.shown(since)
}

// public makes the body that a plugin sees.
func (e *envelope) public(c *clock, attempt int) entry.Body {
	id := e.id.String()
	switch m := e.body.(type) {
	case *message.Upstream:
		out := *m
		out.ID, out.Attempt, out.Received = id, attempt, c.shown(m.Received)
		return entry.Body{Upstream: &out, Trace: e.trace}
	case *message.Outcome:
		out := *m
		out.ID, out.Attempt = id, attempt
		return entry.Body{Outcome: &out, Trace: e.trace}
	case *inboundReceipt:
		out := m.Receipt
		out.ID, out.Attempt = id, attempt
		return entry.Body{Receipt: &out, Trace: e.trace}
	case *timer:
		return entry.Body{Timer: m.public(id, attempt), Trace: e.trace}
	}
	return entry.Body{}
}

// Downstream returns a pending downstream, or entry.ErrUnknown. Its bytes are shared and
// must not be changed.
func (l *Ledger) Downstream(seq uint64) (message.Checked, error) {
	var m *message.Checked
	var page uint64
	err := l.peek(&l.sent, seq, func(first uint64, it item) { m, page = it.(*downstream).body, first })
	if err == nil && m == nil {
		err = l.readEntry(kindDownstream, page, seq, func(r *reader) { m = readParcel(r).message })
	}
	if errors.Is(err, errGone) || errors.Is(err, entry.ErrUnknown) {
		return message.Checked{}, entry.ErrUnknown
	} else if err != nil {
		return message.Checked{}, fmt.Errorf("read downstream %d: %w", seq, err)
	}
	return *m, nil
}

// Lease notes who holds an event; 0: nobody. Settle checks it (P5).
func (l *Ledger) Lease(seq, lease uint64) {
	l.mu.RLock() // so that the committer does not end it meanwhile
	defer l.mu.RUnlock()
	s := l.events.stub(seq)
	if s == nil || s.page != nil && s.page.get(seq) == nil {
		return
	}
	l.leases.set(seq, lease)
}

// Owner returns the plugin that owns a category, or "".
func (l *Ledger) Owner(category string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.owners[category]
}

// SetOwner records the plugin that owns a category; "" for none.
func (l *Ledger) SetOwner(category, plugin string, done func(error)) {
	l.put(&setOwner{category, plugin}, done)
}

type setOwner struct{ category, plugin string }

func (o *setOwner) weigh() (bytes, records int) {
	return len(o.category) + len(o.plugin) + recordExtra, 1
}

func (o *setOwner) apply(b *batch) error {
	if len(o.category) > maxName || len(o.plugin) > maxName {
		return fmt.Errorf("owner of category %q: %w", clip(o.category, 64), entry.ErrTooLarge)
	}
	from := b.mark()
	b.arena = appendOwnerKey(b.arena, o.category)
	key := b.since(from)
	if o.plugin == "" {
		b.del(key, recordExtra)
	} else {
		from = b.mark()
		b.arena = append(append(b.arena, format), o.plugin...)
		b.set(key, from)
	}
	b.owners = append(b.owners, *o)
	return nil
}

// Counts returns the totals.
func (l *Ledger) Counts() entry.Counts {
	l.mu.RLock()
	defer l.mu.RUnlock()
	c := l.tally.counts
	c.Duplicates, c.Untold = l.tally.duplicates, l.tally.untold
	return c
}

// readEntry gives the record of one pending entry to f.
func (l *Ledger) readEntry(kind byte, first, seq uint64, f func(*reader)) error {
	r, _, err := l.readPage(kind, first)
	if err != nil {
		return err
	}
	e, err := r.slot(first, seq)
	if err != nil {
		return err
	}
	f(&e)
	return e.done()
}

// readPage returns the record of a page. An old one was read before, so the page may have
// been written again since.
func (l *Ledger) readPage(kind byte, first uint64) (_ reader, old bool, err error) {
	key := pageKey{kind, first}
	if r, found := l.cache.get(key); found {
		return r, true, nil
	}
	var own reader
	err = l.read(appendSeqKey(nil, kind, first), func(r *reader) error {
		own = r.own()
		return nil
	})
	if err == nil {
		l.cache.put(key, own)
	}
	return own, false, err
}
