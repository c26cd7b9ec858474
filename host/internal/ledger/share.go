package ledger

import "balhost/sdk/message"

// The bounds of a batch. One operation may be larger than a batch of several, and
// is alone then; a commit's frame is less than the journal takes.
const (
	batchLetters = 1000
	batchBytes   = 1 << 20
	batchRecords = 19_660
	opBytes      = 2_390_000
	recordExtra  = 64 // what the key and the sealing add to a record, and the store to both, at most
)

// The bounds of records, in bytes. A value from 1 MiB on would go to badger's
// value log, which nothing syncs. What comes in is smaller, so that there is
// room for what the ledger adds when it becomes a dead letter or an outcome.
const (
	maxRecord = 1<<20 - 1
	maxBody   = message.MaxValue
)

// fill moves letters into the empty batch. While both lines wait, the updates get
// about a quarter of the bytes. share is what they have saved, and fill returns the
// new one: it grows by a quarter of a batch with each batch that the first line was
// in. A large update waits until it is paid for. Then it goes before all else, so
// that neither line waits for ever.
func (b *batch) fill(w *lines, share int) int {
	both := len(w.first) > 0 && len(w.updates) > 0
	for len(w.updates) > 0 && b.fits(w.updates[0].op) {
		if cost := b.cost(w.updates[0].op); both {
			if cost > share {
				break
			}
			share -= cost
		}
		b.add(pop(&w.updates))
	}
	if !both {
		share = 0
	}
	before := len(b.calls)
	for len(w.first) > 0 && b.fits(w.first[0].op) {
		b.add(pop(&w.first))
	}
	if both && len(b.calls) > before {
		share += batchBytes / 4
	}
	return share
}

// cost is the share of a batch that an operation takes: of its bytes or its
// letters, and all of it at most.
func (b *batch) cost(o op) int {
	bytes, _ := o.weigh()
	return min(max(bytes, batchBytes/batchLetters), batchBytes)
}

// fits reports whether the batch has room for one more; the first always fits.
func (b *batch) fits(o op) bool {
	bytes, records := o.weigh()
	return len(b.calls) == 0 || len(b.calls) < batchLetters && b.bytes+bytes <= batchBytes && b.records+records <= batchRecords
}
