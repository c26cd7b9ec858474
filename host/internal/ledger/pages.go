package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Pending entries are stored by the page, not one by one: what a commit takes
// in is one record or a few, and when all of it has ended one deletion. That
// is most of what a message costs in badger, where each key pays for its way
// through log, memtable and tables. Which entries of a page have ended stands
// in a small record beside it ('E').
const (
	pageBytes = 32 << 10 // small, because reading one entry reads its page
	pageSlots = 256
)

// page is one record of pending events ('M') or downstreams ('N'). All but
// seq is the committer's.
type page struct {
	seq     uint64 // of its first entry, and its key
	kind    byte
	marked  bool                    // has a record of what has ended
	touched bool                    // is in batch.touched
	n, live uint16                  // entries in the record, and not ended
	ended   *[pageSlots / 64]uint64 // by slot; nil: none
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

// pageWriter gathers a batch's new entries of one kind.
type pageWriter struct {
	kind byte
	buf  []byte // the pages of this batch; the one being written begins at from
	from int
	page *page // nil: none has begun
}

// addToPage adds an entry to the page being written.
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

// closePage writes the page, when there is one.
func (b *batch) closePage(w *pageWriter) {
	if w.page == nil {
		return
	}
	key := b.seqKey(w.kind, w.page.seq)
	w.buf = sealRecord(w.buf, w.from, key)
	b.put(key, w.buf[w.from:len(w.buf):len(w.buf)], 0)
	w.page = nil
}

func (w *pageWriter) reset() {
	if cap(w.buf) > 4*maxBytes {
		w.buf = nil
	}
	clear(w.buf) // as in batch.end
	w.buf, w.page = w.buf[:0], nil
}

// endSlot notes in the batch that an entry has ended.
func (b *batch) endSlot(p *page, slot uint16) {
	p.end(slot)
	if !p.touched {
		p.touched = true
		b.touched = append(b.touched, p)
	}
}

// writeEnded deletes the pages of which nothing is pending, and marks in the
// others what has ended.
func (b *batch) writeEnded() {
	for _, p := range b.touched {
		p.touched = false
		switch {
		case p.live == 0:
			b.del(b.seqKey(p.kind, p.seq), 0)
			if p.marked {
				b.del(b.seqKey(kindEnded, p.seq), recordExtra)
			}
		case p.ended != nil: // else squeezed meanwhile
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

// errGone: an entry, or any record, is not on the disk.
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

// squeeze rewrites pages of which half or more has ended, lest a few entries
// that nobody takes keep the disk full of others. It looks at entries of a kind that
// follow after and come before, as many as one operation should.
type squeeze struct {
	kind          byte
	after, before uint64
	next          uint64 // where the next squeeze goes on; 0: nowhere
}

const (
	squeezeLook  = 10_000 // entries
	squeezePages = 3      // of several entries, so none is larger than pageBytes
)

func (o *squeeze) weigh() (bytes, records int) { return squeezePages * pageBytes, 3 * squeezePages }

func (o *squeeze) apply(b *batch) error {
	left := squeezePages
	look := func(seq uint64, p *page) bool {
		if seq >= o.before || left == 0 {
			return false
		}
		o.next = seq
		if p.n > 1 && p.live*2 <= p.n && !p.touched {
			left--
			b.squeeze(p)
		}
		return true
	}
	if o.kind == kindEvent {
		b.l.events.after(o.after, squeezeLook, func(e *event) bool { return look(e.seq, e.page) })
	} else {
		b.l.sent.after(o.after, squeezeLook, func(d *downstream) bool { return look(d.seq, d.page) })
	}
	return nil
}

// squeeze writes a page again without what has ended.
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
			b.move(p.kind, seq, n)
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

// move tells an entry its new slot.
func (b *batch) move(kind byte, seq uint64, slot uint16) {
	if kind == kindEvent {
		if ev := b.l.events.get(seq); ev != nil {
			ev.slot = slot
			return
		}
	} else if d := b.l.sent.get(seq); d != nil {
		d.slot = slot
		return
	}
	b.fail(fmt.Errorf("entry %d is on the disk but not in memory", seq))
}
