package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// Pending entries are stored in pages, not one by one. The new entries of a commit are
// one record or a few. When all entries of a page have ended, the page is one deletion.
// Most of a message's cost in badger is per key, as each key goes through log, memtable and
// tables. A small record beside the page ('E') says which of its entries have ended.
const (
	pageBytes = 32 << 10 // small, because reading one entry reads its page
	pageSlots = 256
)

// page is one record of pending events ('M') or downstreams ('N') whose pending entries
// are in memory. Only the committer uses the fields other than seq and items.
type page struct {
	seq     uint64 // of its first entry; the page's key has it
	items   []item // its pending entries, sorted by seq; Ledger.mu guards them
	kind    byte
	marked  bool                    // has a record of which entries have ended
	tried   bool                    // its entries may have records of their attempts
	touched bool                    // is in batch.touched
	n, live uint16                  // entries in the record, and those that have not ended
	ended   *[pageSlots / 64]uint64 // one bit for each slot; nil: none has ended
}

// find returns where an entry is in items, or would be.
func (p *page) find(seq uint64) (at int, found bool) {
	return slices.BinarySearchFunc(p.items, seq, func(it item, seq uint64) int { return cmp.Compare(it.at().seq, seq) })
}

// get returns nil when seq is not pending.
func (p *page) get(seq uint64) item {
	if at, found := p.find(seq); found {
		return p.items[at]
	}
	return nil
}

// end notes that the entry in a slot has ended.
func (p *page) end(slot uint16) {
	if p.ended == nil {
		p.ended = new([pageSlots / 64]uint64)
	}
	p.ended[slot/64] |= 1 << (slot % 64)
	p.live--
}

func (p *page) has(slot int) bool {
	return p.ended == nil || p.ended[slot/64]&(1<<(slot%64)) == 0
}

func appendEnded(dst []byte, ended *[pageSlots / 64]uint64) []byte {
	dst = append(dst, format)
	for _, word := range ended {
		dst = binary.BigEndian.AppendUint64(dst, word)
	}
	return dst
}

func readEnded(r *reader) *[pageSlots / 64]uint64 {
	out := new([pageSlots / 64]uint64)
	for i := range out {
		out[i] = r.u64()
	}
	return out
}

// pageWriter collects a batch's new entries of one kind.
type pageWriter struct {
	kind byte
	buf  []byte // the pages of this batch; the one being written begins at from
	from int
	page *page // nil: none has begun
}

// addToPage adds an entry to the page that is being written.
func (b *batch) addToPage(w *pageWriter, seq uint64, entry []byte) (p *page, slot uint16) {
	if w.page != nil && (len(w.buf)-w.from+len(entry) > pageBytes || w.page.n == pageSlots) {
		b.closePage(w)
	}
	if w.page == nil {
		w.page, w.from = &page{seq: seq, kind: w.kind}, len(w.buf)
		w.buf = append(w.buf, format)
	}
	p = w.page
	w.buf = appendSlot(w.buf, p.seq, seq, entry)
	p.n++
	p.live++
	return p, p.n - 1
}

func appendSlot(dst []byte, first, seq uint64, entry []byte) []byte {
	dst = binary.AppendUvarint(dst, seq-first)
	return appendText(dst, entry)
}

// closePage writes the page, if one has begun.
func (b *batch) closePage(w *pageWriter) {
	if w.page == nil {
		return
	}
	key := b.seqKey(w.kind, w.page.seq)
	w.buf = sealRecord(w.buf, w.from, key)
	b.put(state.Change{Key: key, Value: w.buf[w.from:len(w.buf):len(w.buf)], New: true}) // its seq was given out in this batch
	w.page = nil
}

func (w *pageWriter) reset() { w.buf, w.page = emptied(w.buf), nil }

// endEntry removes an entry from the pending ones.
func (b *batch) endEntry(pl *place) {
	p := pl.page
	p.end(pl.slot)
	if !p.touched {
		p.touched = true
		b.touched = append(b.touched, p)
	}
	b.freed += int64(pl.weight)
	if pl.kept {
		b.del(b.seqKey(kindTries, pl.seq), recordExtra)
	}
	pl.over = true
}

// writeEnded deletes the touched pages that have no pending entry. For the others it
// writes which entries have ended.
func (b *batch) writeEnded() {
	for _, p := range b.touched {
		p.touched = false
		switch {
		case p.live == 0:
			b.l.cache.drop(pageKey{p.kind, p.seq})
			b.del(b.seqKey(p.kind, p.seq), 0)
			if p.marked {
				b.del(b.seqKey(kindEnded, p.seq), recordExtra)
			}
		case p.ended != nil: // nil: the page was squeezed meanwhile
			key := b.seqKey(kindEnded, p.seq)
			from := b.mark()
			b.arena = appendEnded(b.arena, p.ended)
			b.set(key, from)
			p.marked = true
		}
	}
}

// slots calls f for each entry of a page; it stops when f returns false.
func (r *reader) slots(first uint64, f func(slot int, seq uint64, entry lent) bool) {
	for slot := 0; len(r.b) > 0 && !r.bad; slot++ {
		seq := first + r.uvarint()
		entry := r.text()
		if slot == pageSlots {
			r.bad = true
		}
		if r.bad || !f(slot, seq, entry) {
			return
		}
	}
}

// errGone means that an entry or a record is not on the disk.
var errGone = errors.New("is gone from the disk")

// slot finds an entry of a page and returns a reader of it, after its format byte.
func (r *reader) slot(first, seq uint64) (reader, error) {
	var found lent
	r.slots(first, func(_ int, s uint64, entry lent) bool {
		if s == seq {
			found = entry
		}
		return s < seq
	})
	switch {
	case r.bad:
		return reader{}, corrupt(r.key)
	case found == nil:
		return reader{}, fmt.Errorf("entry %d %w", seq, errGone)
	case len(found) == 0 || found[0] != format:
		return reader{}, corrupt(r.key)
	}
	return reader{key: r.key, b: found[1:]}, nil
}

// squeeze rewrites pages of which half or more has ended. Otherwise a few entries that
// nobody takes would keep the ended ones on the disk. It looks at pages of one kind with
// a seq above after and below before, up to the limits of one operation.
type squeeze struct {
	kind          byte
	after, before uint64
	next          uint64 // where the next squeeze continues; 0: no page is left
}

const (
	squeezeLook  = 10_000 // pages
	squeezePages = 3      // pages of several entries, so none is larger than pageBytes
)

func (o *squeeze) weigh() (bytes, records int) { return squeezePages * pageBytes, 3 * squeezePages }

func (o *squeeze) apply(b *batch) error {
	x := b.l.index(o.kind)
	left := squeezePages
	s := x.follow(o.after)
	for range squeezeLook {
		if s == nil || s.seq >= o.before || left == 0 {
			break
		}
		o.next = s.seq
		n, live := s.n, s.live
		if s.page != nil {
			n, live = s.page.n, s.page.live
		}
		if n > 1 && live*2 <= n && (s.page == nil || !s.page.touched) {
			if err := b.l.load(x, s); err != nil {
				b.fail(err)
				return entry.ErrClosed
			}
			left--
			b.squeeze(s.page)
		}
		s = x.follow(s.seq)
	}
	return nil
}

// squeeze writes a page again, without the entries that have ended.
func (b *batch) squeeze(p *page) {
	key := b.seqKey(p.kind, p.seq)
	r, found := b.get(key)
	if !found {
		b.fail(fmt.Errorf("page %d %w", p.seq, errGone))
		return
	}
	from, n := b.mark(), uint16(0)
	b.arena = append(b.arena, format)
	r.slots(p.seq, func(slot int, seq uint64, entry lent) bool {
		if p.has(slot) {
			b.arena = appendSlot(b.arena, p.seq, seq, entry)
			if it := p.get(seq); it != nil {
				it.at().slot = n
			} else {
				b.fail(fmt.Errorf("entry %d is on the disk but not in memory", seq))
			}
			n++
		}
		return true
	})
	b.fail(r.done())
	b.set(key, from)
	if p.marked {
		b.del(b.seqKey(kindEnded, p.seq), recordExtra)
	}
	p.n, p.live, p.ended, p.marked = n, n, nil, false
}
