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
	searchTime  = time.Second
	searchBytes = 64 << 20
	windowBytes = 16 << 20 // of one window: it is read forwards, and given backwards
	scanRecords = 500      // that one look at the state reads
)

// effort is what a search may still do.
type effort struct {
	until time.Time
	bytes int
}

func newEffort() *effort { return &effort{time.Now().Add(searchTime), searchBytes} }

func (e *effort) spent() bool { return e.bytes <= 0 || time.Now().After(e.until) }

// eachRecord gives f the records of a kind with keys from start on and before end, in their
// order, while f returns true.
func (l *Ledger) eachRecord(kind byte, start, end []byte, f func(r *reader) bool) error {
	for more := true; more; {
		n := 0
		more = false
		err := l.state.Scan(state.Span{Prefix: []byte{kind}, Start: start, Most: scanRecords}, func(key, record []byte) (bool, error) {
			if bytes.Compare(key, end) >= 0 {
				more = false
				return false, nil
			}
			r, err := unseal(key, record)
			if err != nil {
				return false, err
			}
			n++
			start = append(append(start[:0:0], key...), 0)
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
	w := &window{l: l, search: &s, view: lens{shown: l.shown()}, effort: newEffort(), before: before}
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
	view, e := lens{shown: l.shown()}, newEffort()
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
// one where an earlier search has stopped; "": it begins with the newest.
func (l *Ledger) DeadTraces(s entry.Search, before string) (found entry.Found, err error) {
	end := []byte{kindDead + 1}
	if id, err := ulid.ParseStrict(before); err == nil {
		end = appendDeadKey(nil, id)
	}
	shown := l.shown()
	err = l.eachRecord(kindDead, []byte{kindDead}, end, func(r *reader) bool {
		d := readDead(r)
		if t := d.trace(shown); r.done() == nil && s.Match(&t) && s.Within(t.Ended) {
			if found.Traces = append(found.Traces, t); len(found.Traces) > 2*s.Most+64 {
				found.Traces, found.More = slices.Clone(found.Traces[len(found.Traces)-s.Most:]), true
			}
		}
		return true
	})
	if n := len(found.Traces); n > s.Most {
		found.Traces, found.More = found.Traces[n-s.Most:], true
	}
	slices.Reverse(found.Traces)
	return found, err
}
