package ledger

import (
	crand "crypto/rand"
	"math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"
)

// ids makes the ids of events. They grow in the order in which events are
// stored, over restarts and when the clock is set back, so that id order is
// ledger order. Owned by the committer.
type ids struct {
	last    uint64 // milliseconds
	entropy *ulid.MonotonicEntropy
}

// newIDs makes ids greater than last.
func newIDs(last ulid.ULID) *ids {
	var seed [32]byte
	crand.Read(seed[:]) // never fails, by its contract
	i := &ids{entropy: ulid.Monotonic(rand.NewChaCha8(seed), 0)}
	if !last.IsZero() {
		i.last = last.Time() + 1
	}
	return i
}

func (i *ids) next(now time.Time) (id ulid.ULID) {
	i.last = max(i.last, ulid.Timestamp(now))
	for {
		// SetTime fails in the year 10889; MonotonicRead when a millisecond
		// had 2^80 ids.
		if id.SetTime(i.last) == nil && i.entropy.MonotonicRead(i.last, id[6:]) == nil {
			return id
		}
		i.last++
	}
}
