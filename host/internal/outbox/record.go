package outbox

import (
	"errors"
	"time"

	"balhost/host/internal/entry"
)

// unsaved is an end that the ledger did not take, though it goes on. The item is in
// later until it is tried again. It stays ending, and holds its group.
type unsaved struct {
	entry.End
	times int
}

// record tells the ledger an end. Its commit frees the next of the group (P5).
func (b *Outbox) record(e entry.End) {
	b.o.Ledger.Finish(e, func(err error) {
		now := time.Now()
		b.mu.Lock()
		defer b.mu.Unlock()
		it := b.items[e.Seq]
		switch {
		case errors.Is(err, entry.ErrClosed):
			// The ledger closes or has failed, and so this process ends. The next
			// start finds the downstream pending.
			b.log.Debug("outcome not recorded", "seq", e.Seq, "err", err)
		case it == nil:
		case err == nil:
			b.metrics.outcomes.WithLabelValues(e.Status.String()).Inc()
			b.remove(it, now)
		case errors.Is(err, entry.ErrUnknown):
			b.remove(it, now)
		default:
			if it.unsaved == nil {
				it.unsaved = &unsaved{End: e}
			}
			it.unsaved.times++
			wait := b.o.Retry.DelayAtLeast(it.unsaved.times, b.rnd)
			it.Due = now.Add(wait)
			it.queue.later.add(it)
			b.hint()
			b.log.Error("outcome not recorded; it is recorded later, and its group waits", "seq", e.Seq, "msg_id", it.MessageID, "after", wait, "err", err)
		}
	})
}
