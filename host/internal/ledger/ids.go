package ledger

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// nextID makes the id of an event that is stored after the one with the id last. Ids
// grow in that order, over restarts and when the clock is set back, so that id order
// is ledger order. The entropy is for the first id of a millisecond; the others count on from it.
func nextID(last ulid.ULID, now time.Time, entropy [10]byte) (id ulid.ULID) {
	if ms := ulid.Timestamp(now); ms > last.Time() && id.SetTime(ms) == nil { // which fails from the year 10889 on
		copy(id[6:], entropy[:])
		return id
	}
	id = last
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
