package ledger

import (
	"cmp"
	"errors"
	"fmt"

	"balhost/host/internal/entry"
)

// Entries deep in a backlog are only on the disk. This file reads them.

// readsPage is readPage, or readOnce.
type readsPage func(kind byte, first uint64) (_ reader, old bool, err error)

// fetch reads the pending entries of a page that is not in memory. It is errGone when
// the page no longer matches the stub: the committer has changed it meanwhile.
func (l *Ledger) fetch(kind byte, s stub, read readsPage) (*page, error) {
	var ended *[pageSlots / 64]uint64
	if s.marked {
		if err := l.read(appendSeqKey(nil, kindEnded, s.seq), func(r *reader) error {
			ended = readEnded(r)
			return r.done()
		}); err != nil {
			return nil, fmt.Errorf("read which entries of page %d have ended: %w", s.seq, err)
		}
	}
	p, err := l.entries(kind, s, ended, read)
	if err != nil {
		return nil, err
	}
	if s.tried {
		for _, it := range p.items {
			if err := l.readTried(it.at()); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// entries makes a page of its record, without what has ended.
func (l *Ledger) entries(kind byte, s stub, ended *[pageSlots / 64]uint64, read readsPage) (*page, error) {
	for {
		r, old, err := read(kind, s.seq)
		p := &page{seq: s.seq, kind: kind, marked: s.marked, tried: s.tried, ended: ended, items: make([]item, 0, s.live)}
		if err == nil {
			err = p.fill(r)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("read page %d: %w", s.seq, err)
		case p.n == s.n && p.live == s.live:
			return p, nil
		}
		l.cache.drop(pageKey{kind, s.seq}) // the page was written again since
		if !old {
			return nil, fmt.Errorf("page %d as it was %w", s.seq, errGone)
		}
	}
}

// fill adds the entries of the page's record that have not ended.
func (p *page) fill(r reader) error {
	r.slots(p.seq, func(slot int, seq uint64, e lent) bool {
		p.n++
		if !p.has(slot) {
			return true
		}
		er := reader{key: r.key, b: e}
		er.bad = er.u8() != format
		it := readItem(p.kind, seq, &er)
		pl := it.at()
		pl.page, pl.slot, pl.weight = p, uint16(slot), uint32(len(e))
		p.items = append(p.items, it)
		r.bad = r.bad || er.done() != nil
		return true
	})
	p.live = uint16(len(p.items))
	return r.done()
}

func readItem(kind byte, seq uint64, r *reader) item {
	if kind == kindEvent {
		return newEvent(seq, readHeading(r))
	}
	return newDownstream(seq, readParcel(r))
}

// readTried applies an entry's later changes to what was stored.
func (l *Ledger) readTried(pl *place) error {
	err := l.read(appendSeqKey(nil, kindTries, pl.seq), func(r *reader) error {
		s := readTries(r)
		pl.attempts, pl.due, pl.kept = s.attempts, s.due, true
		return r.done()
	})
	if errors.Is(err, errGone) {
		return nil // it was not tried
	}
	return err
}

// find returns a pending entry, or nil. Only the committer calls it. It may change the
// entry until the batch ends.
func (l *Ledger) find(x *index, seq uint64) (item, error) {
	s := x.stub(seq)
	if s == nil {
		return nil, nil
	}
	if err := l.load(x, s); err != nil {
		return nil, err
	}
	return s.page.get(seq), nil
}

// load reads a page into memory. Only the committer calls it. Nobody else changes pages,
// so the page on the disk matches the stub.
func (l *Ledger) load(x *index, s *stub) error {
	if s.page != nil {
		return nil
	}
	p, err := l.fetch(x.kind, *s, l.readPage)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x.load(s, p)
	return nil
}

// event finds a pending event for the committer. It is nil when there is none, or when
// it can't be read, which also fails the batch.
func (b *batch) event(seq uint64) *event {
	it, err := b.l.find(&b.l.events, seq)
	b.fail(err)
	ev, _ := it.(*event)
	return ev
}

// downstream does for downstreams what event does for events.
func (b *batch) downstream(seq uint64) *downstream {
	it, err := b.l.find(&b.l.sent, seq)
	b.fail(err)
	d, _ := it.(*downstream)
	return d
}

// weight is about how many bytes the record of a pending entry has. Only the committer
// calls it. If the entry can't be read, apply reports the error.
func (l *Ledger) weight(x *index, seq uint64) int {
	if it, err := l.find(x, seq); err == nil && it != nil {
		return int(it.at().weight)
	}
	return 0
}

// each gives f up to limit pending entries with a seq above after, in seq order. f must
// not keep them: they may lie in memory that changes later.
func (l *Ledger) each(x *index, after uint64, limit int, f func(item)) error {
	give := func(p *page) {
		at, found := p.find(after)
		if found {
			at++
		}
		for ; at < len(p.items) && limit > 0; at++ {
			limit--
			f(p.items[at])
		}
	}
	from := after
	at := func() *stub { return cmp.Or(x.stub(from), x.follow(from)) } // first the page of from, later the next one
	for limit > 0 {
		seq, err := l.visit(x, at, give)
		if seq == 0 || err != nil {
			return err
		}
		from = seq
		at = func() *stub { return x.follow(from) }
	}
	return nil
}

// peek gives f one pending entry, as each does, or returns entry.ErrUnknown.
func (l *Ledger) peek(x *index, seq uint64, f func(page uint64, it item)) error {
	known := false
	_, err := l.visit(x, func() *stub { return x.stub(seq) }, func(p *page) {
		if it := p.get(seq); it != nil {
			known = true
			f(p.seq, it)
		}
	})
	if err == nil && !known {
		return entry.ErrUnknown
	}
	return err
}

// visit gives f the page that at finds, from memory or disk, and returns its seq; 0: there is none.
func (l *Ledger) visit(x *index, at func() *stub, f func(*page)) (seq uint64, err error) {
	for {
		l.mu.RLock()
		s := at()
		if s == nil {
			l.mu.RUnlock()
			return 0, nil
		}
		if s.page != nil {
			f(s.page)
			seq = s.seq
			l.mu.RUnlock()
			return seq, nil
		}
		was := *s
		l.mu.RUnlock()
		p, err := l.deep(x, was)
		if err != nil {
			return 0, err
		}
		if p != nil {
			f(p)
			return was.seq, nil
		}
	}
}

// deepPage is the page that was read last. It does not become part of the index.
type deepPage struct {
	stub stub
	page *page
}

// deep reads a page from the disk; nil when it no longer matches the stub.
func (l *Ledger) deep(x *index, s stub) (*page, error) {
	last := &l.deepEvents
	if x.kind == kindDownstream {
		last = &l.deepSent
	}
	if d := last.Load(); d != nil && d.stub == s {
		return d.page, nil
	}
	p, err := l.fetch(x.kind, s, l.readPage)
	l.mu.RLock()
	now := x.stub(s.seq)
	same := now != nil && *now == s
	l.mu.RUnlock()
	if !same {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	last.Store(&deepPage{s, p})
	return p, nil
}
