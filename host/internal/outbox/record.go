package outbox

import (
	"errors"
	"slices"
	"time"

	"balhost/host/internal/entry"
)

// unsavedEnd is an end that the ledger did not take, though it goes on. Its item
// stays ending, and holds its group.
type unsavedEnd struct {
	entry.End
	again time.Time
}

// finish records an end; its commit frees the next of the group (P5).
func (b *Outbox) finish(e entry.End) {
	b.metrics.outcomes.WithLabelValues(e.Status.String()).Inc()
	b.record(e)
}

// record tells the ledger, and tells it again until the ledger has taken it.
func (b *Outbox) record(e entry.End) {
	b.o.Ledger.Finish(e, func(err error) {
		if errors.Is(err, entry.ErrClosed) {
			// The ledger is closing or has failed, and with it this process: the
			// next start finds the downstream pending.
			b.log.Debug("outcome not recorded", "seq", e.Seq, "err", err)
			return
		}
		now := time.Now()
		b.mu.Lock()
		it := b.items[e.Seq]
		if it == nil || err == nil || errors.Is(err, entry.ErrUnknown) {
			if it != nil {
				b.remove(it, now)
			}
			b.mu.Unlock()
			return
		}
		it.unsaved++
		wait := b.o.Retry.DelayAtLeast(it.unsaved, b.rnd)
		b.unsaved = append(b.unsaved, unsavedEnd{e, now.Add(wait)})
		b.hint()
		b.mu.Unlock()
		b.log.Error("outcome not recorded; it is recorded later, and its group waits", "seq", e.Seq, "msg_id", it.MessageID, "after", wait, "err", err)
	})
}

// recordable takes the unsaved ends whose time has come.
func (b *Outbox) recordable(now time.Time, sooner func(time.Time)) (ends []entry.End) {
	b.unsaved = slices.DeleteFunc(b.unsaved, func(u unsavedEnd) bool {
		if u.again.After(now) {
			sooner(u.again)
			return false
		}
		ends = append(ends, u.End)
		return true
	})
	return ends
}
