// Package backoff says how long to wait before the next attempt. It keeps no
// state: the caller counts the attempts and brings the randomness. Start at [Policy].
package backoff

import (
	"math/rand/v2"
	"time"
)

// Policy is a wait that doubles from Min up to Max. Both are positive, and Min ≤ Max.
type Policy struct{ Min, Max time.Duration }

// Delay is the wait after n failures in a row; n < 1 counts as 1. It is uniform in
// [0, min(Max, Min·2ⁿ⁻¹)] (full jitter), which spreads many clients best. It may be 0.
func (p Policy) Delay(n int, rnd *rand.Rand) time.Duration {
	return upTo(p.step(n-1), rnd)
}

// DelayAtLeast is a wait of Min or more: uniform in [d/2, d] of d = min(Max, Min·2ⁿ).
// CCS asks for a first wait of 1 s at least (ccs-protocol.md §4.1).
func (p Policy) DelayAtLeast(n int, rnd *rand.Rand) time.Duration {
	d := p.step(max(n, 1))
	return max(p.Min, d-upTo(d/2, rnd))
}

// step is min(Max, Min·2ⁿ) without overflow.
func (p Policy) step(n int) time.Duration {
	d := p.Min
	for ; n > 0 && d < p.Max; n-- {
		if d > p.Max/2 {
			return p.Max
		}
		d *= 2
	}
	return min(d, p.Max)
}

func upTo(d time.Duration, rnd *rand.Rand) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rnd.Uint64N(uint64(d) + 1))
}
