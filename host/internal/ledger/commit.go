package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
	"balhost/sdk/message"
)

// The bounds of a batch. One operation may be larger than a batch of several, and
// is alone then; a commit's frame is less than the journal takes.
const (
	batchLetters = 1000
	batchBytes   = 1 << 20
	batchRecords = 19_660
	opBytes      = 2_390_000
	recordExtra  = 64 // what the key and the sealing add to a record, and the store to both, at most
)

// The bounds of records, in bytes. A value from 1 MiB on would go to badger's
// value log, which nothing syncs. What comes in is smaller, so that there is
// room for what the ledger adds when it becomes a dead letter or an outcome.
const (
	maxRecord = 1<<20 - 1
	maxBody   = message.MaxValue
)

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

// run is the committer: the only goroutine that writes to the store or changes the index.
func (l *Ledger) run() error {
	view := l.state.View()
	b := newBatch(l, view)
	var waiting lines
	share := 0
	var accepted time.Time // when a message came last
	for l.box.take(&waiting) {
		if time.Since(accepted) < linger {
			l.box.lingerFor(&waiting)
			l.box.take(&waiting)
		}
		if !ends(waiting.first) {
			accepted = time.Now()
		}
		view.Begin()
		b.begin(l.stamp())
		share = b.fill(&waiting, share)
		l.commit(b)
		view.End()
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
		share += batchBytes / 4
	}
	return share
}

// cost is the share of a batch that an operation takes: of its bytes or its
// letters, and all of it at most.
func (b *batch) cost(o op) int {
	bytes, _ := o.weigh()
	return min(max(bytes, batchBytes/batchLetters), batchBytes)
}

// fits reports whether the batch has room for one more; the first always fits.
func (b *batch) fits(o op) bool {
	bytes, records := o.weigh()
	return len(b.calls) == 0 || len(b.calls) < batchLetters && b.bytes+bytes <= batchBytes && b.records+records <= batchRecords
}

// add applies one operation and notes whom to tell what.
func (b *batch) add(m letter) {
	bytes, records := m.op.weigh()
	var err error
	switch {
	case m.late, b.err != nil, b.l.failed() != nil:
		err = entry.ErrClosed
	case bytes > opBytes, records > batchRecords:
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
	b.close()
	err := b.err
	if err == nil && len(b.changes) > 0 {
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

// sync appends the commit to the journal, which returns when it is on disk, and
// applies it.
func (l *Ledger) sync(b *batch) error {
	frame := state.Frame(b.changes)
	start := time.Now() // for the metrics and the watch, not for the ledger: real time
	l.committing.Store(&start)
	defer l.committing.Store(nil)
	if err := l.append(b.tally.commit, frame); err != nil {
		return err
	}
	l.metrics.commit(time.Since(start), len(b.calls))
	return l.state.Apply(b.tally.commit, frame)
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

// stampNow is Ledger.stamp.
func (l *Ledger) stampNow() (s stamp) {
	s.now, s.real = l.clock.now()
	// Badger forgets by the wall clock, in seconds, so later than known does: one
	// that is ahead by half the window for a while makes it forget nothing too soon.
	s.forget = uint64(time.Now().Add(l.o.DedupWindow + max(time.Hour, l.o.DedupWindow/2)).Unix())
	s.ahead = l.clock.isAhead(l.o.DedupWindow / 4)
	s.full = l.full.is()
	rand.Read(s.entropy[:]) // never fails, by its contract
	return s
}
