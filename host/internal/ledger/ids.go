package ledger

import (
	"time"

	"github.com/oklog/ulid/v2"
)

// nextID makes the id of the event after the one with the id last. Ids always grow, also
// over restarts and when the clock is set back. So the order of ids is the ledger's order.
// The first id of a millisecond uses the entropy; the next ones count up from it.
func nextID(last ulid.ULID, now time.Time, entropy [10]byte) (id ulid.ULID) {
	if ms := ulid.Timestamp(now); ms > last.Time() && id.SetTime(ms) == nil { // fails from the year 10889 on
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
