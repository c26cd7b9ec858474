// Package flow decides about downstreams: how many more may go out (P3), which of
// them have to go alone, what a refusal or a lost connection means, and when one is
// too old. It knows no transport: a transport judges what its peer says, and reports an
// [Answer] with its [Verdict], or the [End] of a connection. It starts nothing and reads no clock. Start at [Window],
// [Verdict] and [Trial].
package flow

import (
	"fmt"
	"slices"
	"time"
)

// Window holds the downstreams that one connection has written and its peer has not
// answered. It belongs to one goroutine. All that it says follows from that list:
// there is no counter that could drift (ccs-protocol.md §11 no. 9).
type Window struct {
	limit      int
	unanswered []sent // oldest first
	written    uint64 // ever
}

type sent struct {
	id, to string
	seq    uint64
	since  time.Time
	n      uint64 // written before it
}

// NewWindow has room for limit downstreams; CCS's limit is 100 (ccs-protocol.md §8).
func NewWindow(limit int) *Window {
	return &Window{limit: limit, unanswered: make([]sent, 0, limit)}
}

// Room is how many downstreams may be written now.
func (w *Window) Room() int { return w.limit - len(w.unanswered) }

// Empty reports whether every downstream has its answer.
func (w *Window) Empty() bool { return len(w.unanswered) == 0 }

// Written is how many downstreams have been written.
func (w *Window) Written() uint64 { return w.written }

// Before returns the ids of the unanswered among the first n that were written,
// oldest first. If to is not empty, it returns those to that target alone.
func (w *Window) Before(n uint64, to string) (ids []string) {
	for _, s := range w.unanswered {
		if s.n < n && (to == "" || s.to == to) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// Add notes that a downstream is about to be written. It panics without room or
// when the id is unanswered already: P3 would be broken.
func (w *Window) Add(id, to string, seq uint64, now time.Time) {
	if w.Room() <= 0 || w.find(id) >= 0 {
		panic(fmt.Sprintf("flow: no room for downstream %q: %d of %d unanswered", id, len(w.unanswered), w.limit))
	}
	w.unanswered = append(w.unanswered, sent{id, to, seq, now, w.written})
	w.written++
}

// Answer takes out the downstream of that id, and says when it was written. It is
// not ok when there is none, as for an answer that comes twice.
func (w *Window) Answer(id string) (seq uint64, since time.Time, ok bool) {
	i := w.find(id)
	if i < 0 {
		return 0, time.Time{}, false
	}
	seq, since = w.unanswered[i].seq, w.unanswered[i].since
	w.unanswered = slices.Delete(w.unanswered, i, i+1)
	return seq, since, true
}

// Unanswered returns what must be sent again when the connection ends, oldest first.
func (w *Window) Unanswered() []uint64 {
	seqs := make([]uint64, len(w.unanswered))
	for i, s := range w.unanswered {
		seqs[i] = s.seq
	}
	return seqs
}

// Oldest is when the longest unanswered downstream was written; false when there is none.
func (w *Window) Oldest() (time.Time, bool) {
	if w.Empty() {
		return time.Time{}, false
	}
	return w.unanswered[0].since, true
}

// find returns where an id stands, or -1. Answers mostly come in the order of the
// sends, so the search is short.
func (w *Window) find(id string) int {
	return slices.IndexFunc(w.unanswered, func(s sent) bool { return s.id == id })
}
