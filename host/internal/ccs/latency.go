package ccs

import (
	"math/bits"
	"sync"
	"time"
)

// latency counts durations in buckets. Each is 1/8 of a power of two wide, so a
// quantile is right to within 12 %.
type latency struct {
	mu      sync.Mutex     // guards what follows
	buckets [8 * 41]uint64 // up to 2^40 µs
	count   uint64
	max     time.Duration
}

// Latency sums up how long acks took, from reading the upstream to writing its
// ack, since the start.
type Latency struct {
	Count         uint64
	P50, P99, Max time.Duration
}

func (l *latency) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets[bucket(d)]++
	l.count++
	l.max = max(l.max, d)
}

// bucket is the index of d's bucket. Below 8 µs each µs has its own; above, the three
// bits after the highest one say which eighth it is.
func bucket(d time.Duration) int {
	us := uint64(max(0, d) / time.Microsecond)
	if us < 8 {
		return int(us)
	}
	top := bits.Len64(us) - 1 // ≥ 3
	return min(8*(top-2)+int(us>>(top-3)&7), 8*41-1)
}

// upper is the end of a bucket.
func upper(i int) time.Duration {
	if i < 8 {
		return time.Duration(i+1) * time.Microsecond
	}
	top := i/8 + 2
	return time.Duration((8+uint64(i%8)+1)<<(top-3)) * time.Microsecond
}

func (l *latency) sum() Latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Latency{Count: l.count, P50: l.quantile(0.5), P99: l.quantile(0.99), Max: l.max}
}

func (l *latency) quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(l.count)), uint64(0)
	for i, n := range l.buckets {
		if seen += n; n > 0 && seen > rank {
			return min(upper(i), l.max)
		}
	}
	return l.max
}
