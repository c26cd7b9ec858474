package ledger

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/host/internal/state"
)

// Searches read what has ended from the disk, by time. They take no lock that a commit
// waits for, and leave nothing in a cache. Each gives up after some work, and says where
// the next one goes on.
const (
	windowBytes = 16 << 20 // of one window: it is read forwards, and given backwards
	scanRecords = 500      // that one look at the state reads
)

// searchLimits is what one search may do before it says where to go on.
type searchLimits struct {
	time    time.Duration
	bytes   int
	letters int // dead letters that it reads
	keys    int // of one owner's state that it counts
}

var usualLimits = searchLimits{time: time.Second, bytes: 64 << 20, letters: 20_000, keys: 100_000}

// effort is what a search may still do.
type effort struct {
	until   time.Time
	bytes   int
	records int
}

// newEffort is of a search that may read so many records.
func (l *Ledger) newEffort(records int) *effort {
	return &effort{time.Now().Add(l.limits.time), l.limits.bytes, records}
}

func (e *effort) spent() bool {
	return e.bytes <= 0 || e.records <= 0 || time.Now().After(e.until)
}

// read notes that a record was read.
func (e *effort) read(r *reader) { e.bytes, e.records = e.bytes-len(r.b), e.records-1 }

// eachRecord gives f the records of a kind with keys from start on and before end, in their
// order, while f returns true.
func (l *Ledger) eachRecord(kind byte, start, end []byte, f func(r *reader) bool) error {
	return l.eachIn(state.Span{Prefix: []byte{kind}, Start: start}, func(r *reader) bool { return bytes.Compare(r.key, end) < 0 && f(r) })
}

// eachIn gives f the records of a span, however many, in its order, while f returns true. It
// looks at the state again and again, so they are not all of one moment.
func (l *Ledger) eachIn(span state.Span, f func(r *reader) bool) error {
	span.Most = scanRecords
	for more := true; more; {
		n := 0
		more = false
		err := l.state.Scan(span, func(key, record []byte) (bool, error) {
			n++
			l.searched.Add(1)
			r, err := unseal(key, record)
			if err != nil {
				return false, err
			}
			if span.Start = bytes.Clone(key); !span.Back {
				span.Start = append(span.Start, 0)
			}
			more = f(&r)
			return more, nil
		})
		if err != nil {
			return closedAs(err)
		}
		more = more && n == scanRecords
	}
	return nil
}

// placeOf is the place of the i-th summary of a record.
func placeOf(key []byte, i int) entry.Place {
	if len(key) != 17 {
		return entry.Place{}
	}
	return entry.Place{Millis: binary.BigEndian.Uint64(key[1:]), Seq: binary.BigEndian.Uint64(key[9:]), Index: i}
}

func endKey(millis, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{kindSummary}, millis), seq)
}

// millis is a moment of the wall clock by the ledger's clock.
func (l *Ledger) millis(t time.Time) uint64 {
	off := t.Sub(l.clock.shown(t)) // how far the ledger's clock is ahead
	return uint64(max(0, t.Add(off).UnixMilli()))
}

// Ended searches what has ended, except for dead letters: those that ended last come
// first. before is where an earlier search has stopped; zero: it begins with the newest.
func (l *Ledger) Ended(s entry.Search, before entry.Place) (found entry.Found, err error) {
	now, _ := l.clock.now()
	w := &window{l: l, search: &s, view: lens{shown: l.shown(), gone: l.forgottenNow()}, effort: l.newEffort(math.MaxInt), before: before}
	low := uint64(max(0, now.Add(-l.o.Retention-time.Hour).UnixMilli())) // what is older is purged soon
	if !s.Since.IsZero() {
		low = max(low, l.millis(s.Since))
	}
	high := uint64(now.UnixMilli()) + 1
	if !s.Until.IsZero() {
		high = min(high, l.millis(s.Until)+1)
	}
	if before != (entry.Place{}) {
		high = min(high, before.Millis+1)
	}
	width := uint64(time.Second.Milliseconds())
	for read := false; high > low && len(found.Traces) < s.Most && !(read && w.effort.spent()); {
		from := max(low, high-min(high, width))
		whole, err := w.read(from, high, s.Most-len(found.Traces))
		if err != nil {
			return found, err
		}
		if !whole && width > 1 {
			width = max(1, width/16)
			continue
		}
		read = true
		if w.dropped {
			w.traces = w.traces[len(w.traces)-(s.Most-len(found.Traces)):]
		}
		slices.Reverse(w.traces)
		found.Traces = append(found.Traces, w.traces...)
		if w.dropped {
			found.More, found.Next = true, found.Traces[len(found.Traces)-1].At
			return found, nil
		}
		high = from
		if w.bytes < windowBytes/8 {
			width *= 4
		}
	}
	found.More, found.Next = high > low, entry.Place{Millis: high}
	found.Back = l.clock.shown(time.UnixMilli(int64(max(high, low))))
	return found, nil
}

// window reads the summaries of some time.
type window struct {
	l       *Ledger
	search  *entry.Search
	view    lens
	effort  *effort
	before  entry.Place // only what is before it counts; zero: all
	traces  []entry.Trace
	dropped bool // of what was found, the older part was dropped
	bytes   int
}

// read keeps the last most of what is asked for. It is not whole if there was too much to read.
func (w *window) read(from, to uint64, most int) (whole bool, err error) {
	w.traces, w.dropped, w.bytes, whole = nil, false, 0, true
	end := endKey(to, 0)
	if b := w.before; b != (entry.Place{}) && b.Millis < to {
		end = endKey(b.Millis, b.Seq+1)
	}
	err = w.l.eachRecord(kindSummary, endKey(from, 0), end, func(r *reader) bool {
		n := len(r.b)
		w.bytes, w.effort.bytes = w.bytes+n, w.effort.bytes-n
		if w.bytes > windowBytes && to-from > 1 {
			whole = false
			return false
		}
		i := -1
		at := placeOf(r.key, 0)
		r.eachSummary(func(s *summary) bool {
			if i++; at.Millis == w.before.Millis && at.Seq == w.before.Seq && i >= w.before.Index {
				return false
			}
			if t := w.view.look(s, r, i); w.search.Match(t) {
				w.keep(t, most)
			}
			return true
		})
		return true
	})
	return whole, err
}

func (w *window) keep(t *entry.Trace, most int) {
	w.traces = append(w.traces, t.Own())
	if len(w.traces) > most {
		w.dropped = true
		if len(w.traces) >= 2*most+64 {
			w.traces = slices.Clone(w.traces[len(w.traces)-most:])
		}
	}
}

// EndedSince gives f what has ended from a moment on, in the order of the ends, while it
// returns true. A trace is valid until f returns. upTo is how far it got.
func (l *Ledger) EndedSince(since time.Time, f func(*entry.Trace) bool) (upTo time.Time, err error) {
	view, e := lens{shown: l.shown(), gone: l.forgottenNow()}, l.newEffort(math.MaxInt)
	upTo = time.Now()
	err = l.eachRecord(kindSummary, endKey(l.millis(since), 0), endKey(math.MaxUint64, 0), func(r *reader) bool {
		e.bytes -= len(r.b)
		i, more := -1, true
		r.eachSummary(func(s *summary) bool {
			i++
			more = f(view.look(s, r, i))
			return more
		})
		if more && e.spent() {
			upTo = view.trace.Ended
			return false
		}
		return more
	})
	return upTo, err
}

// DeadTraces searches the dead letters, the newest events first. before is the id of the
// one where an earlier search has stopped; "": it begins with the newest. It reads as much
// as one search may: if there are More, Found.ID is where the next one goes on.
func (l *Ledger) DeadTraces(s entry.Search, before string) (found entry.Found, err error) {
	span := state.Span{Prefix: []byte{kindDead}, Back: true}
	if id, err := ulid.ParseStrict(before); err == nil {
		span.Start = appendDeadKey(nil, id)
	} else if before != "" {
		return found, noDead(before)
	}
	e, shown := l.newEffort(l.limits.letters), l.shown()
	last := ulid.ULID{}
	err = l.eachIn(span, func(r *reader) bool {
		if found.More = len(found.Traces) == s.Most || e.spent(); found.More {
			return false
		}
		e.read(r)
		d := readDead(r)
		last = d.event.id
		t := d.trace(shown)
		if t.Began.Before(s.Came) {
			return false
		}
		if r.done() == nil && s.Match(&t) && s.Within(t.Ended) {
			found.Traces = append(found.Traces, t)
		}
		return true
	})
	if found.More {
		found.ID = last.String()
	}
	return found, err
}
