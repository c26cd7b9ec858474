package ledger

import (
	"errors"
	"math"
	"sort"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// Lookups find one message, or what is pending. What is deep in a backlog is read from the
// disk, page by page, and goes into no cache: nobody needs it soon.

// row is a pending entry with what Ledger.mu guards of it.
type row struct {
	item     item
	due      int64
	attempts uint32
}

func (l *Ledger) rowTrace(r row) entry.Trace {
	if ev, is := r.item.(*event); is {
		return l.eventTrace(ev, r.due, r.attempts)
	}
	return l.sentTrace(r.item.(*downstream), r.due, r.attempts)
}

// Pending searches the pending events, or downstreams: the newest first. before is the seq
// before which it looks; 0: all.
func (l *Ledger) Pending(downstreams bool, s entry.Search, before uint64) (found entry.Found, err error) {
	x, e := l.index(kindEvent), l.newEffort(math.MaxInt)
	if downstreams {
		x = l.index(kindDownstream)
	}
	if before == 0 {
		before = math.MaxUint64
	}
	for {
		at := before
		seq, rows, err := l.rows(x, func() *stub { return x.precede(at) })
		if err != nil || seq == 0 {
			return found, err
		}
		for i := len(rows) - 1; i >= 0; i-- {
			r := rows[i]
			if r.item.at().seq >= before {
				continue
			}
			e.bytes -= int(r.item.at().size)
			t := l.rowTrace(r)
			if s.Look != nil {
				s.Look(&t)
			}
			if s.Match(&t) && s.Within(t.Began) {
				found.Traces = append(found.Traces, t)
			}
			if len(found.Traces) == s.Most {
				found.More, found.Seq = true, r.item.at().seq
				return found, nil
			}
		}
		if before = seq; e.spent() {
			found.More, found.Seq = true, before
			return found, nil
		}
	}
}

// rows are the pending entries of the page that at finds; seq is the page's, 0: there is none.
func (l *Ledger) rows(x *index, at func() *stub) (seq uint64, rows []row, err error) {
	take := func(p *page) {
		rows = make([]row, 0, len(p.items))
		for _, it := range p.items {
			rows = append(rows, row{it, it.at().due, it.at().attempts})
		}
	}
	for {
		l.mu.RLock()
		s := at()
		if s == nil {
			l.mu.RUnlock()
			return 0, nil, nil
		}
		was := *s
		if s.page != nil {
			take(s.page)
		}
		l.mu.RUnlock()
		if was.page != nil {
			return was.seq, rows, nil
		}
		p, err := l.fetch(x.kind, was, l.readOnce)
		l.mu.RLock()
		now := x.stub(was.seq)
		same := now != nil && *now == was
		l.mu.RUnlock()
		if same && err == nil {
			take(p)
			return was.seq, rows, nil
		} else if same {
			return 0, nil, err
		}
	}
}

// readOnce is readPage for one who reads the page once: it leaves the cache as it is.
func (l *Ledger) readOnce(kind byte, first uint64) (own reader, old bool, err error) {
	err = l.read(appendSeqKey(nil, kind, first), func(r *reader) error {
		own = r.own()
		return nil
	})
	return own, false, err
}

// precede returns the last page that begins before seq; nil for none.
func (x *index) precede(seq uint64) *stub {
	at := sort.Search(len(x.stubs), func(i int) bool { return x.stubs[i].seq >= seq })
	for at--; at >= 0; at-- {
		if x.stubs[at].n > 0 {
			return &x.stubs[at]
		}
	}
	return nil
}

// PendingTrace is what the ledger knows of a pending event, or downstream; entry.ErrUnknown
// if none with this seq is pending.
func (l *Ledger) PendingTrace(downstream bool, seq uint64) (entry.Trace, error) {
	x := l.index(kindEvent)
	if downstream {
		x = l.index(kindDownstream)
	}
	_, rows, err := l.rows(x, func() *stub { return x.stub(seq) })
	if err != nil {
		return entry.Trace{}, err
	}
	for _, r := range rows {
		if r.item.at().seq == seq {
			return l.rowTrace(r), nil
		}
	}
	return entry.Trace{}, entry.ErrUnknown
}

// PendingEvent finds a pending event by its id; entry.ErrUnknown if none is pending. It may
// miss one that was replayed: its id is older than its place.
func (l *Ledger) PendingEvent(id string) (entry.Trace, error) {
	want, err := ulid.ParseStrict(id)
	if err != nil {
		return entry.Trace{}, entry.ErrUnknown
	}
	l.mu.RLock()
	low, high := uint64(0), l.tally.seq+1
	l.mu.RUnlock()
	for low < high { // the page of the event begins in [low, high)
		middle := low + (high-low)/2
		seq, rows, err := l.rows(&l.events, func() *stub { return l.events.precede(middle + 1) })
		if err != nil {
			return entry.Trace{}, err
		}
		if seq == 0 || len(rows) == 0 { // no page begins so early
			low = middle + 1
			continue
		}
		for _, r := range rows {
			if r.item.(*event).id == want {
				return l.rowTrace(r), nil
			}
		}
		if rows[0].item.(*event).id.Compare(want) > 0 {
			high = seq
		} else {
			low = middle + 1
		}
	}
	return entry.Trace{}, entry.ErrUnknown
}

// DeadTrace is what the ledger knows of a dead letter; entry.ErrUnknown if there is none.
func (l *Ledger) DeadTrace(id string) (entry.Trace, error) {
	d, _, err := l.findDead(id)
	if errors.Is(err, errGone) {
		err = entry.ErrUnknown
	}
	if err != nil {
		return entry.Trace{}, err
	}
	return d.trace(l.shown()), nil
}

// SentSeq is the seq of the downstream with this id in a session; entry.ErrUnknown if there
// is none, or it is forgotten.
func (l *Ledger) SentSeq(session, messageID string) (seq uint64, err error) {
	err = l.read(appendHashKey(nil, kindSent, sumSent(session, messageID)), func(r *reader) error {
		seq = readSent(r).seq
		return r.done()
	})
	if errors.Is(err, errGone) {
		err = entry.ErrUnknown
	}
	return seq, err
}

// Given is a moment before which a seq was not given out, by what has ended since: what
// has this seq ends after it.
func (l *Ledger) Given(seq uint64) (time.Time, error) {
	now, _ := l.clock.now()
	low, high := uint64(0), uint64(now.UnixMilli())
	for low < high {
		middle := low + (high-low)/2
		later := true
		err := l.state.Scan(state.Span{Prefix: []byte{kindSummary}, Start: endKey(middle, 0), Most: 1}, func(key, _ []byte) (bool, error) {
			later = placeOf(key, 0).Seq > seq
			return false, nil
		})
		if err != nil {
			return time.Time{}, closedAs(err)
		}
		if later {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return l.clock.shown(time.UnixMilli(int64(low))), nil
}
