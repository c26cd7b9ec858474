package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// The bounds of a batch; limits has those that badger gives.
const (
	maxLetters  = 1000
	maxBytes    = 1 << 20
	recordExtra = 64 // what badger, the key and the sealing add to a record, at most
)

// The bounds of records, in bytes. A value from 1 MiB on would go to badger's
// value log, whose sync errors badger only logs. What comes in is smaller, so that there is
// room for what the ledger adds when it becomes a dead letter or an outcome.
const (
	maxRecord = 1<<20 - 1
	maxBody   = message.MaxValue
)

// limits are the bounds of one transaction. Badger refuses one of 15 % of a
// memtable (2.5 MB) or 26,214 records. One operation may fill it, several share less.
type limits struct{ bytes, opBytes, records int }

func limitsOf(db *badger.DB) limits {
	bytes, records := int(db.MaxBatchSize()), int(db.MaxBatchCount())
	return limits{bytes: min(maxBytes, bytes*2/5), opBytes: bytes * 95 / 100, records: records * 3 / 4}
}

// tally is what every commit records along with its operations: the ledger's
// counters, to be compared with what is there, and where to go on.
type tally struct {
	commit     uint64 // number of this commit
	seq        uint64 // the last one given out, to events, downstreams and versions
	lastID     ulid.ULID
	lowEvents  uint64 // no event before it is pending: recovery starts there, not among tombstones
	lowSent    uint64 // the same for downstreams
	purgedTo   uint64 // no summary from before it is left, in milliseconds
	counts     entry.Counts
	finished   uint64    // summaries of events now
	outcomes   uint64    // summaries of downstreams now
	values     uint64    // state keys now
	duplicates uint64    // since this start, so not recorded
	at         time.Time // of the last commit that is on disk; read at the start alone
}

func appendTally(dst []byte, t tally, now time.Time) []byte {
	dst = appendTime(append(dst, format), now)
	dst = append(dst, t.lastID[:]...)
	c := t.counts
	for _, n := range []uint64{
		t.commit, t.seq, t.lowEvents, t.lowSent, t.purgedTo, t.finished, t.outcomes, t.values,
		c.Accepted, c.Handled, c.Died, c.Sent, c.Acked, c.Failed, c.Expired,
		uint64(c.Events), uint64(c.Downstreams), uint64(c.Dead),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func readTally(r *reader) (t tally) {
	t.at = r.time()
	t.lastID = r.id()
	c := &t.counts
	for _, n := range []*uint64{&t.commit, &t.seq, &t.lowEvents, &t.lowSent, &t.purgedTo} {
		*n = r.uvarint()
	}
	for _, n := range []*uint64{
		&t.finished, &t.outcomes, &t.values,
		&c.Accepted, &c.Handled, &c.Died, &c.Sent, &c.Acked, &c.Failed, &c.Expired,
	} {
		*n = r.uvarint()
	}
	for _, n := range []*int{&c.Events, &c.Downstreams, &c.Dead} {
		*n = int(r.uvarint())
	}
	return t
}

// batch is one transaction in the making, and what it will mean for memory
// once it is on disk. The committer has one and uses it again and again.
type batch struct {
	l     *Ledger
	txn   *badger.Txn
	now   time.Time // the ledger's, as every time that is stored
	real  time.Time // the same moment by the wall clock, with a monotonic reading
	tally tally
	err   error // the store cannot be trusted: nothing of the batch may be committed

	arena   []byte         // keys and values, until badger has copied them; handed out as lent
	entries []badger.Entry // the same for what badger wants to be told by pointer
	writes  int
	freed   int64 // bytes of records deleted

	newEvents pageWriter
	newSent   pageWriter
	summaries summaries
	touched   []*page // of which entries have ended

	calls          []call
	effects        []effect
	owners         []setOwner
	bytes, records int // upper bounds, by weigh
}

// effect is one change of the index.
type effect struct {
	event      *event
	downstream *downstream
	what       what
	due        int64
	attempts   uint32
}

type what uint8

const (
	added what = iota
	ended
	later // due and attempts have changed
)

// run is the committer: the only goroutine that writes to badger or changes the index.
func (l *Ledger) run() error {
	b := &batch{l: l, newEvents: pageWriter{kind: kindEvent}, newSent: pageWriter{kind: kindDownstream}}
	var waiting lines
	share := 0
	for l.box.take(&waiting) {
		b.begin()
		share = b.fill(&waiting, share)
		l.commit(b)
	}
	return nil
}

// fill moves letters into the empty batch. While both lines wait, the updates
// get about a quarter of the bytes: share is what they have saved up, and fill
// returns the new one. It grows by a quarter with each batch that the first
// line was in, and a large update waits until it is paid for; then it goes
// before all else, so that neither line waits for ever.
func (b *batch) fill(w *lines, share int) int {
	both := len(w.first) > 0 && len(w.updates) > 0
	for len(w.updates) > 0 && b.fits(w.updates[0].op) {
		if cost := b.cost(w.updates[0].op); both {
			if cost > share {
				break
			}
			share -= cost
		}
		b.add(pop(&w.updates))
	}
	if !both {
		share = 0
	}
	before := len(b.calls)
	for len(w.first) > 0 && b.fits(w.first[0].op) {
		b.add(pop(&w.first))
	}
	if both && len(b.calls) > before {
		share += b.l.limits.bytes / 4
	}
	return share
}

// cost is the share of a batch that an operation takes: of its bytes or its
// letters, and all of it at most.
func (b *batch) cost(o op) int {
	bytes, _ := o.weigh()
	return min(max(bytes, b.l.limits.bytes/maxLetters), b.l.limits.bytes)
}

// fits reports whether the batch has room for one more; the first always fits.
func (b *batch) fits(o op) bool {
	bytes, records := o.weigh()
	return len(b.calls) == 0 || len(b.calls) < maxLetters && b.bytes+bytes <= b.l.limits.bytes && b.records+records <= b.l.limits.records
}

// add applies one operation and notes whom to tell what.
func (b *batch) add(m letter) {
	bytes, records := m.op.weigh()
	var err error
	switch {
	case m.late, b.err != nil, b.l.failed() != nil:
		err = entry.ErrClosed
	case bytes > b.l.limits.opBytes, records > b.l.limits.records:
		err = entry.ErrTooLarge
	default:
		b.bytes, b.records = b.bytes+bytes, b.records+records
		err = m.op.apply(b)
	}
	b.calls = append(b.calls, call{m.done, err})
}

// commit makes the batch durable, then true in memory, then tells the callers
// (P1, P2): in this order, so that nobody acts on what a power cut can undo.
// The batch is empty afterwards.
func (l *Ledger) commit(b *batch) {
	defer b.end()
	b.closePage(&b.newEvents)
	b.closePage(&b.newSent)
	b.closeSummaries()
	b.writeEnded()
	err := b.err
	if err == nil && b.writes > 0 {
		err = l.sync(b)
	}
	if err != nil {
		l.poison(fmt.Errorf("commit %d of %d operations: %w", b.tally.commit, len(b.calls), err))
		for i := range b.calls {
			b.calls[i].err = entry.ErrClosed
		}
	} else {
		l.publish(b)
	}
	l.calls.push(b.calls...)
}

// sync commits the transaction; badger returns when it is on disk.
func (l *Ledger) sync(b *batch) error {
	b.tally.commit++
	b.tally.lowEvents, b.tally.lowSent = l.events.low(l.tally.seq+1), l.sent.low(l.tally.seq+1)
	from := b.mark()
	b.arena = appendTally(b.arena, b.tally, b.now)
	b.set(keyCounter, from)
	if b.err != nil {
		return b.err
	}
	start := time.Now() // for the metrics and the watch, not for the ledger: real time
	l.committing.Store(&start)
	err := l.store(b.txn)
	l.committing.Store(nil)
	l.metrics.commit(time.Since(start), len(b.calls))
	return err
}

// publish makes memory say what the disk says.
func (l *Ledger) publish(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally = b.tally
	l.freed += b.freed
	for _, o := range b.owners {
		if l.owners[o.category] = o.plugin; o.plugin == "" {
			delete(l.owners, o.category)
		}
	}
	events, downstreams := false, false
	for _, e := range b.effects {
		if e.event != nil {
			events = true
			l.changeEvent(e)
		} else {
			downstreams = true
			l.changeDownstream(e)
		}
	}
	l.events.shed()
	l.sent.shed()
	if events {
		l.eventsChanged.fire()
	}
	if downstreams {
		l.sentChanged.fire()
	}
}

func (l *Ledger) changeEvent(e effect) {
	switch ev := e.event; e.what {
	case added:
		l.events.add(ev)
	case ended:
		l.events.end(ev)
		l.leases.set(ev.seq, 0)
	case later:
		ev.due, ev.attempts, ev.over = e.due, e.attempts, false
	}
}

func (l *Ledger) changeDownstream(e effect) {
	switch d := e.downstream; e.what {
	case added:
		l.sent.add(d)
	case ended:
		l.sent.end(d)
	case later:
		d.due, d.attempts = e.due, e.attempts
	}
}

// begin starts the next transaction.
func (b *batch) begin() {
	b.txn = b.l.db.NewTransaction(true)
	b.now, b.real = b.l.clock.now()
	b.tally = b.l.tally
}

// until is the ledger's time of a moment that was reckoned from now on; 0 for zero.
func (b *batch) until(due time.Time) int64 {
	if due.IsZero() {
		return 0
	}
	return b.now.UnixNano() + int64(due.Sub(b.real))
}

// end empties the batch, keeping its room for the next.
func (b *batch) end() {
	b.txn.Discard()
	b.err, b.writes, b.freed, b.bytes, b.records = nil, 0, 0, 0, 0
	if cap(b.arena) > 4*maxBytes {
		b.arena = nil
	}
	clear(b.arena) // a slice that outlives it by mistake shows as zeros, never as another device's message
	b.arena = b.arena[:0]
	b.newEvents.reset()
	b.newSent.reset()
	b.summaries.reset()
	clear(b.touched)
	b.touched = b.touched[:0]
	clear(b.calls)
	clear(b.effects)
	clear(b.entries)
	b.calls, b.effects, b.entries, b.owners = b.calls[:0], b.effects[:0], b.entries[:0], b.owners[:0]
}

// mark is where the next key or record in the arena begins.
func (b *batch) mark() int { return len(b.arena) }

// since returns what was appended to the arena after mark. It stays as it is
// when the arena grows and moves.
func (b *batch) since(from int) lent { return b.arena[from:len(b.arena):len(b.arena)] }

// seqKey, hashKey make keys in the arena.
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

// setUntil is set with a time in Unix seconds after which badger may forget the record; 0: never.
func (b *batch) setUntil(key []byte, from int, expires uint64) {
	b.arena = sealRecord(b.arena, from, key)
	b.put(key, b.since(from), expires)
}

// put writes a sealed record, which must stay as it is until the commit.
func (b *batch) put(key, value []byte, expires uint64) {
	if len(value)+len(key) >= maxRecord {
		b.fail(fmt.Errorf("record %q of %d bytes passed the checks", key[:1], len(value)))
		return
	}
	e := b.room()
	*e = badger.Entry{Key: key, Value: value, ExpiresAt: expires}
	b.fail(b.txn.SetEntry(e))
	b.writes++
}

// room returns room for one of badger's entries, which must not move.
func (b *batch) room() *badger.Entry {
	if len(b.entries) == cap(b.entries) {
		b.entries = make([]badger.Entry, 0, max(64, min(4096, 2*cap(b.entries)))) // badger holds on to the old ones as long as it needs them
	}
	b.entries = b.entries[:len(b.entries)+1]
	return &b.entries[len(b.entries)-1]
}

// del deletes a record of about size bytes.
func (b *batch) del(key []byte, size int) {
	b.fail(b.txn.Delete(key))
	b.writes++
	b.freed += int64(size)
}

// get reads a record as the batch's earlier operations left it: what is in the
// arena, at times.
func (b *batch) get(key []byte) (r reader, found bool) {
	item, err := b.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return reader{}, false
	}
	if err == nil {
		err = item.Value(func(v []byte) (err error) {
			r, err = unseal(key, v)
			return err
		})
	}
	b.fail(err)
	return r, err == nil
}

// expired reads a record that badger takes for expired, by a wall clock that is
// ahead: until it rewrites the table, the record is there.
func (b *batch) expired(key []byte) (r reader, found bool) {
	it := b.txn.NewKeyIterator(key, badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	if it.Rewind(); !it.Valid() {
		return reader{}, false
	}
	record, err := it.Item().ValueCopy(nil)
	if err == nil {
		r, err = unseal(key, record)
	}
	b.fail(err)
	return r, err == nil
}

// fail notes an error of the store itself: the batch, and the process, are lost.
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

// bodyExtra is about what a decoded body needs besides its bytes.
const bodyExtra = 256

// endEvent takes an event out of what is pending.
func (b *batch) endEvent(ev *event) {
	b.endSlot(ev.page, ev.slot)
	b.freed += int64(ev.weight)
	if ev.kept {
		b.del(b.seqKey(kindState, ev.seq), recordExtra)
	}
	ev.over = true
	b.tally.counts.Events--
	b.effects = append(b.effects, effect{event: ev, what: ended})
}

// keep writes what has changed about an event or a downstream.
func (b *batch) keep(seq uint64, s state) {
	key := b.seqKey(kindState, seq)
	from := b.mark()
	b.arena = appendState(b.arena, s)
	b.set(key, from)
}
