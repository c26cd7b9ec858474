package dispatch

import (
	"container/heap"
	"time"

	"balhost/host/internal/entry"
)

// laneKey names a lane within one plugin.
type laneKey struct {
	kind entry.Kind // Upstream: hash is the ordering key; Outcome: hash is a group, of receipts too; Timer: hash is a name
	hash uint64
}

// lane is a run of events that are handled one after the other (P5). Only its
// head is ever handed out; it leaves when its end is on disk.
type lane struct {
	key    laneKey
	shared bool // found by its key; others hold one event without order
	events fifo[entry.Event]
	next   uint64    // the smallest seq that was left out of it, or less; 0: nothing was
	away   int       // events left out
	loops  int       // how often in a row the head came back without an end or an attempt
	busy   bool      // the head is handed out or its end is being committed
	since  time.Time // the head is eligible
	loss   *loss     // the head has lost by a conflict, and claims its keys before it runs again
	ended  bool      // a process that was to give the head back was ended while it held it: its handler may have hung
	slowed bool      // the head failed, and waits for the host's backoff, not for a time that its handler named
	failed *Instance // where the head failed first; nil: it did not, or nobody knows
}

func (l *lane) head() *entry.Event { return l.events.front() }

// fifo is a queue in one slice.
type fifo[T any] struct {
	items []T
	first int
}

func (q *fifo[T]) len() int    { return len(q.items) - q.first }
func (q *fifo[T]) front() *T   { return &q.items[q.first] }
func (q *fifo[T]) push(item T) { q.items = append(q.items, item) }

func (q *fifo[T]) pop() T {
	var zero T
	item := q.items[q.first]
	q.items[q.first] = zero
	q.first++
	switch {
	case q.first == len(q.items):
		q.items, q.first = q.items[:0], 0
	case q.first > 32 && q.first > len(q.items)/2: // amortized: each item moves at most once a doubling
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
	return item
}

// all are the queued items, first to last; valid until the next change.
func (q *fifo[T]) all() []T { return q.items[q.first:] }

// dueHeap orders lanes by the due time of their heads.
type dueHeap []*lane

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].head().Due.Before(h[j].head().Due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(*lane)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// popDue takes the first lane that is due at now.
func (h *dueHeap) popDue(now time.Time) (*lane, bool) {
	if len(*h) == 0 || (*h)[0].head().Due.After(now) {
		return nil, false
	}
	return heap.Pop(h).(*lane), true
}

// first returns up to most lanes, in the order of their due times. It looks at about as many
// as it returns, whatever the heap has.
func (h dueHeap) first(most int) (some []*lane) {
	next := &places{of: h}
	if len(h) > 0 {
		next.at = []int{0}
	}
	for len(next.at) > 0 && len(some) < most {
		i := heap.Pop(next).(int)
		some = append(some, h[i])
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ { // no child is due before its parent
			heap.Push(next, child)
		}
	}
	return some
}

// places are places in a dueHeap, as a heap.
type places struct {
	of dueHeap
	at []int
}

func (p *places) Len() int           { return len(p.at) }
func (p *places) Less(i, j int) bool { return p.of.Less(p.at[i], p.at[j]) }
func (p *places) Swap(i, j int)      { p.at[i], p.at[j] = p.at[j], p.at[i] }
func (p *places) Push(x any)         { p.at = append(p.at, x.(int)) }
func (p *places) Pop() any {
	last := p.at[len(p.at)-1]
	p.at = p.at[:len(p.at)-1]
	return last
}
