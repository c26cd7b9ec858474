package ledger

import (
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
)

// tally is what every commit stores besides its operations: the ledger's counters, to be
// compared with the records, and where the next commit goes on.
type tally struct {
	commit     uint64 // number of this commit
	seq        uint64 // the last one that was given out, to an event, a downstream or a version
	lastID     ulid.ULID
	lowEvents  uint64 // no event before it is pending, so recovery starts there and skips the tombstones
	lowSent    uint64 // the same for downstreams
	purgedTo   uint64 // no summary from before it is left, in milliseconds
	counts     entry.Counts
	finished   uint64    // summaries of events now
	outcomes   uint64    // summaries of downstreams now
	values     uint64    // state keys now
	replaces   uint64    // records of Replace now
	duplicates uint64    // since this start, so not stored
	untold     uint64    // the same
	at         time.Time // of the last commit that is on disk; only read at the start
}

func appendTally(dst []byte, t tally, now time.Time) []byte {
	dst = appendTime(append(dst, formatErased), now)
	dst = append(dst, t.lastID[:]...)
	c := t.counts
	for _, n := range []uint64{
		t.commit, t.seq, t.lowEvents, t.lowSent, t.purgedTo, t.finished, t.outcomes, t.values,
		c.Accepted, c.Handled, c.Died, c.Sent, c.Acked, c.Failed, c.Expired,
		uint64(c.Events), uint64(c.Downstreams), uint64(c.Dead),
		c.Canceled, t.replaces, uint64(c.Timers), c.Erased,
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func readTally(r *reader) (t tally) {
	t.at = r.time()
	t.lastID = r.id()
	c := &t.counts
	for _, n := range []*uint64{&t.commit, &t.seq, &t.lowEvents, &t.lowSent, &t.purgedTo} {
		*n = r.uvarint()
	}
	for _, n := range []*uint64{
		&t.finished, &t.outcomes, &t.values,
		&c.Accepted, &c.Handled, &c.Died, &c.Sent, &c.Acked, &c.Failed, &c.Expired,
	} {
		*n = r.uvarint()
	}
	for _, n := range []*int{&c.Events, &c.Downstreams, &c.Dead} {
		*n = int(r.uvarint())
	}
	if r.format >= formatSix {
		c.Canceled, t.replaces = r.uvarint(), r.uvarint()
		c.Timers = int(r.uvarint())
	}
	if r.format >= formatErased {
		c.Erased = r.uvarint()
	}
	return t
}
