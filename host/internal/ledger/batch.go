package ledger

import (
	"fmt"
	"time"
	"unsafe"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/span"
	"balhost/host/internal/state"
)

// store gives records by key to the rules. A record is valid until the batch ends.
type store interface {
	Get(key []byte) (value []byte, found bool, err error)
	// GetExpired also finds records that the store treats as expired. Its clock may be wrong.
	GetExpired(key []byte) (value []byte, found bool, err error)
	// Scan gives records in the order of keys. What it gives is valid until f returns.
	Scan(span state.Span, f func(key, value []byte) (more bool, err error)) error
}

// stamp holds what the rules must not look up themselves. So the same operations with
// the same stamps make the same commits, wherever they are applied.
type stamp struct {
	now     time.Time                // by the ledger's clock, as all times that are stored
	real    time.Time                // the same moment by the wall clock, with a monotonic reading
	forget  uint64                   // when badger may drop a dedup key that is stored now, in Unix seconds of the wall clock
	ahead   bool                     // the wall clock is so far ahead that badger may hide dedup keys
	full    bool                     // the disk is at its soft limit
	stopped map[string]chan struct{} // the senders whose intake is stopped
	entropy [10]byte                 // for ids
}

// batch is a commit that is being built, with the changes of memory that follow when it
// is on disk. The committer has one batch and reuses it.
type batch struct {
	stamp
	l     *Ledger
	store store
	tally tally
	err   error // the store cannot be trusted: nothing of the batch may be committed

	arena   []byte         // keys and values until they are in the frame; given out as lent
	changes []state.Change // they point into the arena, and into the pages and summaries that are being written
	written map[string]int // key to position in changes
	most    int            // the most keys that written has had since it was made
	values  []int          // positions in changes of plugins' state
	freed   int64          // bytes of records deleted

	newEvents pageWriter
	newSent   pageWriter
	summaries summaries
	touched   []*page // entries of these have ended in this batch
	newest    []*downstream

	watched        bool        // somebody wants to hear of the steps
	steps          []feed.Step // that are told when the commit is on disk
	spans          []span.Done // the same; their End is then
	calls          []call
	effects        []effect
	owners         []setOwner
	forgot         []setForgotten // plugins
	due            []dueAt        // timers that were set
	bytes, records int            // upper bounds; weigh gives them
}

func newBatch(l *Ledger, s store) *batch {
	return &batch{
		l: l, store: s, written: map[string]int{},
		newEvents: pageWriter{kind: kindEvent}, newSent: pageWriter{kind: kindDownstream},
	}
}

// begin starts the next commit.
func (b *batch) begin(s stamp) { b.stamp, b.tally, b.watched = s, b.l.tally, b.l.o.Feed.On() }

// until converts a moment of the wall clock to the ledger's time; 0 for the zero time.
func (b *batch) until(due time.Time) int64 {
	if due.IsZero() {
		return 0
	}
	return b.now.UnixNano() + int64(due.Sub(b.real))
}

// close writes the records that the batch's operations share, and the counters.
func (b *batch) close() {
	b.closePage(&b.newEvents)
	b.closePage(&b.newSent)
	b.closeSummaries()
	b.writeEnded()
	if len(b.changes) == 0 {
		return
	}
	b.tally.commit++
	b.tally.lowEvents, b.tally.lowSent = b.l.events.low(b.l.tally.seq+1), b.l.sent.low(b.l.tally.seq+1)
	from := b.mark()
	b.arena = appendTally(b.arena, b.tally, b.now)
	b.set(keyCounter, from)
}

// end empties the batch. It keeps the memory for the next one.
func (b *batch) end() {
	b.err, b.freed, b.bytes, b.records = nil, 0, 0, 0
	b.arena = emptied(b.arena)
	b.newEvents.reset()
	b.newSent.reset()
	b.summaries.reset()
	clear(b.touched)
	clear(b.newest)
	b.touched, b.newest = b.touched[:0], b.newest[:0]
	clear(b.calls)
	clear(b.effects)
	clear(b.changes)
	if len(b.written)*16 < b.most {
		b.written, b.most = map[string]int{}, 0 // to clear a large map takes longer
	} else {
		b.most = max(b.most, len(b.written))
		clear(b.written)
	}
	if clear(b.steps); b.watched {
		b.steps = b.steps[:0]
	} else {
		b.steps = nil
	}
	clear(b.spans)
	b.spans = b.spans[:0]
	b.calls, b.effects, b.changes = b.calls[:0], b.effects[:0], b.changes[:0]
	b.owners, b.values, b.due, b.forgot = b.owners[:0], b.values[:0], b.due[:0], b.forgot[:0]
}

// emptied clears buf for the next batch. If a slice of it outlives its batch by mistake,
// it shows zeros, and never another device's message.
func emptied(buf []byte) []byte {
	if cap(buf) > 4*batchBytes {
		return nil
	}
	clear(buf)
	return buf[:0]
}

// mark returns where the next key or record in the arena begins.
func (b *batch) mark() int { return len(b.arena) }

// since returns what was appended to the arena after the mark from. It stays as it is
// when the arena grows and moves.
func (b *batch) since(from int) lent { return b.arena[from:len(b.arena):len(b.arena)] }

// seqKey and hashKey make keys in the arena.
func (b *batch) seqKey(kind byte, seq uint64) lent {
	from := b.mark()
	b.arena = appendSeqKey(b.arena, kind, seq)
	return b.since(from)
}

func (b *batch) hashKey(kind byte, d digest) lent {
	from := b.mark()
	b.arena = appendHashKey(b.arena, kind, d)
	return b.since(from)
}

// set seals the record that was appended to the arena after from, and writes it.
func (b *batch) set(key []byte, from int) { b.setUntil(key, from, 0) }

// setUntil does what set does. After expires, in Unix seconds, badger may drop the record; 0: never.
func (b *batch) setUntil(key []byte, from int, expires uint64) {
	b.arena = sealRecord(b.arena, from, key)
	b.put(state.Change{Key: key, Value: b.since(from), Expires: expires})
}

// put writes a sealed record. Nobody may change its bytes until the commit.
func (b *batch) put(c state.Change) {
	if len(c.Value)+len(c.Key) >= maxRecord {
		b.fail(fmt.Errorf("record %q of %d bytes is too large, and no check found it", c.Key[:1], len(c.Value)))
		return
	}
	b.note(c)
}

// del deletes a record of about size bytes.
func (b *batch) del(key []byte, size int) {
	b.note(state.Change{Key: key, Delete: true})
	b.freed += int64(size)
}

// note adds one change. It replaces an earlier change of the same key.
func (b *batch) note(c state.Change) {
	key := unsafe.String(unsafe.SliceData(c.Key), len(c.Key)) // nobody changes it until the commit
	if at, found := b.written[key]; found {
		c.New = b.changes[at].New
		b.changes[at] = c
		return
	}
	b.written[key] = len(b.changes)
	if c.Key[0] == kindValue {
		b.values = append(b.values, len(b.changes))
	}
	b.changes = append(b.changes, c)
}

// get reads a record as the batch's earlier operations left it. The record may lie in
// the arena.
func (b *batch) get(key []byte) (r reader, found bool) {
	if at, found := b.written[string(key)]; found {
		c := b.changes[at]
		if c.Delete {
			return reader{}, false
		}
		r, err := unseal(key, c.Value)
		b.fail(err)
		return r, err == nil
	}
	return b.unseal(key, b.store.Get)
}

// expired reads a record even if the store treats it as expired.
func (b *batch) expired(key []byte) (r reader, found bool) { return b.unseal(key, b.store.GetExpired) }

func (b *batch) unseal(key []byte, get func(key []byte) ([]byte, bool, error)) (r reader, found bool) {
	record, found, err := get(key)
	if err == nil && found {
		r, err = unseal(key, record)
	}
	b.fail(err)
	return r, found && err == nil
}

// fail notes an error of the store itself. The batch is not committed, and the process ends.
func (b *batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// next gives out a seq.
func (b *batch) next() uint64 {
	b.tally.seq++
	return b.tally.seq
}

// addEvent stores an event and makes it pending.
func (b *batch) addEvent(e envelope) *event {
	ev := newEvent(b.next(), e.heading())
	from := b.mark()
	b.arena = appendEnvelope(b.arena, e)
	ev.weight = uint32(b.mark() - from)
	ev.body = e.body
	ev.size += ev.weight + bodyExtra
	ev.page, ev.slot = b.addToPage(&b.newEvents, ev.seq, b.since(from))
	b.tally.counts.Events++
	b.effects = append(b.effects, effect{event: ev, what: added})
	return ev
}

// bodyExtra is about how much memory a decoded body needs besides its bytes.
const bodyExtra = 256

// endEvent removes an event from the pending ones.
func (b *batch) endEvent(ev *event) {
	if ev.kind == entry.Timer {
		b.freeTimer(ev)
	}
	b.endEntry(ev.at())
	b.tally.counts.Events--
	b.effects = append(b.effects, effect{event: ev, what: ended})
}

// keep writes what has changed about a pending event or downstream.
func (b *batch) keep(seq uint64, s tries) {
	key := b.seqKey(kindTries, seq)
	from := b.mark()
	b.arena = appendTries(b.arena, s)
	b.set(key, from)
}
