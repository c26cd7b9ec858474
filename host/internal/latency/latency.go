// Package latency sums up durations in constant memory: the acks that the host writes,
// and those that the simulator waits for. It starts nothing and reads no clock. Start
// at [Histogram].
package latency

import (
	"math/bits"
	"sync"
	"time"
)

// Histogram counts durations in buckets. A bucket is at most 1/32 of its value wide.
// There are 64 octaves of 32 buckets each. Its methods may be called from any goroutine.
type Histogram struct {
	mu  sync.Mutex // guards all
	all counts
}

// counts are a histogram's. They have no lock.
type counts struct {
	count   uint64
	max     time.Duration
	buckets [64 * 32]uint64
}

// Summary is what a Histogram has counted. The quantiles are exact to about 3 %.
type Summary struct {
	Count uint64        `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Add counts d.
func (h *Histogram) Add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all.add(max(d, 0))
}

// Reset forgets all that was counted.
func (h *Histogram) Reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = counts{}
}

// Summary sums up what was counted since the start, or the last Reset.
func (h *Histogram) Summary() Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all.summary()
}

// add counts d, which is not negative.
func (c *counts) add(d time.Duration) {
	c.count++
	c.max = max(c.max, d)
	c.buckets[bucketOf(uint64(d))]++
}

func (c *counts) summary() Summary {
	return Summary{Count: c.count, P50: c.quantile(0.50), P99: c.quantile(0.99), Max: c.max}
}

// quantile is the upper edge of the bucket in which the q-quantile is.
func (c *counts) quantile(q float64) time.Duration {
	rank := uint64(q * float64(c.count))
	var seen uint64
	for i, n := range c.buckets {
		if seen += n; seen > rank {
			return min(edgeOf(i), c.max)
		}
	}
	return c.max
}

// bucketOf is the bucket of v. Below 64 each value has its own. Above, the octave and
// the five bits after the highest one choose it.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-6, 0)
	return shift*32 + int(v>>shift)
}

// edgeOf is the largest value in bucket i.
func edgeOf(i int) time.Duration {
	if i < 64 {
		return time.Duration(i)
	}
	shift := i/32 - 1
	return time.Duration((uint64(i%32+32)+1)<<shift - 1)
}
