package wire

import (
	"context"
	"runtime"
	"sync"
)

// queue keeps frames for one writing goroutine. put merges a frame into the pending
// one and never blocks. writeTo cuts frames of a size that can be sent off it.
type queue[F any] struct {
	merge func(pending, f *F)
	cut   func(pending *F) *F // nil: nothing to send
	weigh func(f *F) int      // about its bytes

	mu      sync.Mutex // guards pending, weight and closed
	pending *F
	weight  int // of pending
	closed  bool
	changed chan struct{} // hint to writeTo, capacity 1
	eased   chan struct{} // hint to throttle, capacity 1
}

func newQueue[F any](merge func(pending, f *F), cut func(*F) *F, weigh func(*F) int) *queue[F] {
	return &queue[F]{merge: merge, cut: cut, weigh: weigh, pending: new(F), changed: make(chan struct{}, 1), eased: make(chan struct{}, 1)}
}

// throttle waits while more than limit bytes are queued, until the queue is
// closed or ctx ends. One goroutine may call it.
func (q *queue[F]) throttle(ctx context.Context, limit int) {
	for {
		q.mu.Lock()
		goOn := q.weight <= limit || q.closed
		q.mu.Unlock()
		if goOn {
			return
		}
		select {
		case <-q.eased:
		case <-ctx.Done():
			return
		}
	}
}

func (q *queue[F]) put(f *F) {
	q.mu.Lock()
	if !q.closed {
		q.weight += q.weigh(f)
		q.merge(q.pending, f)
	}
	q.mu.Unlock()
	q.hint()
}

// close lets writeTo return once it has written what is pending. Later frames are dropped.
func (q *queue[F]) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.hint()
	q.ease()
}

func (q *queue[F]) hint() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *queue[F]) ease() {
	select {
	case q.eased <- struct{}{}:
	default:
	}
}

func (q *queue[F]) next() (f *F, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f = q.cut(q.pending); f != nil {
		q.weight -= q.weigh(f)
		q.ease()
	}
	return f, q.closed
}

// writeTo writes with send until the queue is closed and empty (nil), send fails
// or ctx ends.
func (q *queue[F]) writeTo(ctx context.Context, send func(*F) error) error {
	for {
		f, closed := q.next()
		switch {
		case f != nil:
			if err := send(f); err != nil {
				return err
			}
		case closed:
			return nil
		default:
			select {
			case <-q.changed:
				runtime.Gosched() // others that are ready to put something do so first: fewer and fuller frames
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
