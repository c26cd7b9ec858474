package latency

import (
	"sync"
	"time"
)

// Recent is a [Histogram] of what was added lately: in the last Span at least, and in twice
// that at most. It needs 32 KiB. Its methods may be called from any goroutine.
type Recent struct {
	Span time.Duration // not changed after the first call

	mu          sync.Mutex // guards what follows
	began       time.Time  // now holds what was added from then on
	now, before counts     // before holds the Span before that
}

// Add counts d, which was measured at a moment.
func (r *Recent) Add(at time.Time, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(at)
	r.now.add(max(d, 0))
}

// Summary sums up what is recent at a moment.
func (r *Recent) Summary(at time.Time) Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(at)
	both := r.now
	both.count += r.before.count
	both.max = max(both.max, r.before.max)
	for i, n := range r.before.buckets {
		both.buckets[i] += n
	}
	return both.summary()
}

// turn forgets what is too old at a moment. mu is held.
func (r *Recent) turn(at time.Time) {
	switch passed := at.Sub(r.began); {
	case passed >= 2*r.Span:
		r.now, r.before, r.began = counts{}, counts{}, at
	case passed >= r.Span:
		r.now, r.before, r.began = counts{}, r.now, r.began.Add(r.Span)
	}
}
