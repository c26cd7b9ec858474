package ledger

import (
	"crypto/rand"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// run is the committer, the only goroutine that writes to the store or changes the
// index. Each time round, it makes one commit of what waits in the mailbox.
func (l *Ledger) run() error {
	view := l.state.View()
	b := newBatch(l, view)
	var waiting lines
	var t turns
	var accepted time.Time // when a message came last
	for l.box.drain(&waiting) {
		if time.Since(accepted) < linger {
			l.box.lingerFor(&waiting)
			l.box.drain(&waiting)
		}
		if !waiting.light() {
			accepted = time.Now()
		}
		view.Begin()
		b.begin(l.stamp())
		t = b.fill(&waiting, t)
		l.commit(b)
		view.End()
	}
	return nil
}

// add applies one operation to the batch, and notes whom to tell what.
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

// commit makes the batch durable, then changes memory, then tells the callers (P1,
// P2). In this order, nobody acts on what a power cut can undo. The batch is empty
// afterwards.
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
		b.tellAll()
		l.publish(b)
	}
	l.calls.push(b.calls...)
}

// sync appends the commit to the journal, which returns when it is on disk. Then it
// applies the commit to the state.
func (l *Ledger) sync(b *batch) error {
	frame := state.Frame(b.changes)
	start := time.Now() // real time, for the metrics and watchCommits
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
	for _, f := range b.forgot {
		l.forgot(f)
	}
	l.scheduled(b.due)
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
		if !d.over { // else it was canceled in the same batch
			l.sent.add(d)
		}
	case ended, canceledBy:
		l.sent.end(d)
		l.claims.drop(d.seq)
		if e.what == canceledBy {
			l.canceled = append(l.canceled, d.seq)
		}
	case later:
		d.due, d.attempts = e.due, e.attempts
	}
}

// effect is one change of the index that a commit brings.
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
	later      // due and attempts have changed
	canceledBy // a downstream has ended by the ledger itself: it was canceled or replaced
)

// stampNow is the stamp of a batch that begins now.
func (l *Ledger) stampNow() (s stamp) {
	s.now, s.real = l.clock.now()
	// Badger forgets by the wall clock, in seconds. It gets a later time than known
	// counts with: a wall clock that is ahead by up to half the window does no harm.
	s.forget = uint64(time.Now().Add(l.o.DedupWindow + max(time.Hour, l.o.DedupWindow/2)).Unix())
	s.ahead = l.clock.isAhead(l.o.DedupWindow / 4)
	s.full, s.stopped = l.full.is(), l.intake.now()
	rand.Read(s.entropy[:]) // never fails, by its contract
	return s
}
