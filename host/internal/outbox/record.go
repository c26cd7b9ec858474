package outbox

import (
	"errors"
	"slices"
	"time"

	"balhost/host/internal/entry"
)

// refusedEnd is an end that the ledger did not take, for another reason than its
// own end. Its item goes on ending, and holds its group.
type refusedEnd struct {
	entry.End
	again time.Time
}

// finish records an end; its commit frees the next of the group (P5).
func (b *Outbox) finish(e entry.End) {
	b.metrics.outcomes.WithLabelValues(e.Status.String()).Inc()
	b.record(e)
}

// record tells the ledger, now and later, until it has taken it.
func (b *Outbox) record(e entry.End) {
	b.o.Ledger.Finish(e, func(err error) {
		if errors.Is(err, entry.ErrClosed) {
			// The ledger is closing or has failed, and with it this process: the
			// next start finds the downstream pending.
			b.log.Debug("outcome not recorded", "seq", e.Seq, "err", err)
			return
		}
		b.mu.Lock()
		it := b.items[e.Seq]
		if it == nil || err == nil || errors.Is(err, entry.ErrUnknown) {
			if it != nil {
				b.remove(it)
			}
			b.mu.Unlock()
			return
		}
		it.refusals++
		wait := b.o.Retry.DelayAtLeast(it.refusals, b.rnd)
		b.refused = append(b.refused, refusedEnd{e, time.Now().Add(wait)})
		b.hint()
		b.mu.Unlock()
		b.log.Error("outcome not recorded, it is told again and its group waits", "seq", e.Seq, "msg_id", it.MessageID, "after", wait, "err", err)
	})
}

// untold takes the ends that are to be told to the ledger once more, and says
// when the others are.
func (b *Outbox) untold(now time.Time, sooner func(time.Time)) (ends []entry.End) {
	b.refused = slices.DeleteFunc(b.refused, func(r refusedEnd) bool {
		if r.again.After(now) {
			sooner(r.again)
			return false
		}
		ends = append(ends, r.End)
		return true
	})
	return ends
}
