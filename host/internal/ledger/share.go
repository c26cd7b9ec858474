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

// turns says whose turn it is in the next batch.
type turns struct {
	updates  int  // bytes that the updates have saved
	messages bool // they had no room in the last batch
}

// fill moves letters into the empty batch, and returns whose turn it is then.
//
// While anything else waits, the updates get about a quarter of the bytes: what they have
// saved grows by a quarter of a batch with each batch that others were in. A large update
// waits until it is paid for. Then it goes before all else, so that no line waits for
// ever. While messages wait, ends get half of the rest. If a large end leaves no room,
// the messages are first next time.
func (b *batch) fill(w *lines, t turns) turns {
	both := len(w.first)+len(w.ends) > 0 && len(w.updates) > 0
	for len(w.updates) > 0 && b.fits(w.updates[0].op) {
		if cost := b.cost(w.updates[0].op); both {
			if cost > t.updates {
				break
			}
			t.updates -= cost
		}
		b.add(pop(&w.updates))
	}
	if !both {
		t.updates = 0
	}
	before := len(b.calls)
	for !t.messages && len(w.ends) > 0 && b.fits(w.ends[0].op) && (len(w.first) == 0 || b.isHalfEmpty()) {
		b.add(pop(&w.ends))
	}
	waited, ends := len(w.first) > 0, len(b.calls)
	for len(w.first) > 0 && b.fits(w.first[0].op) {
		b.add(pop(&w.first))
	}
	t.messages = waited && len(b.calls) == ends
	for len(w.ends) > 0 && b.fits(w.ends[0].op) {
		b.add(pop(&w.ends))
	}
	if both && len(b.calls) > before {
		t.updates += batchBytes / 4
	}
	return t
}

func (b *batch) isHalfEmpty() bool {
	return len(b.calls) < batchLetters/2 && b.bytes < batchBytes/2 && b.records < batchRecords/2
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
