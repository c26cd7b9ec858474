package outbox

import "iter"

// mailbox is the pending items of one target. Items that have ended stay in it for a
// while, so that one leaves a long mailbox at no cost.
type mailbox struct {
	items []*item
	ended int // of items
}

// mailboxes are those of a sender by target. They cost memory for each pending item, so
// only senders with a gateway have them.
type mailboxes map[uint64]*mailbox

func (m mailboxes) add(it *item) {
	box := m[it.Target]
	if box == nil {
		box = &mailbox{}
		m[it.Target] = box
	}
	box.items = append(box.items, it)
}

// forget drops an item whose state is ended.
func (m mailboxes) forget(it *item) {
	box := m[it.Target]
	if box.ended++; box.ended == len(box.items) {
		delete(m, it.Target)
		return
	}
	const few = 8
	if box.ended < max(few, len(box.items)/2) {
		return
	}
	kept := make([]*item, 0, len(box.items)-box.ended)
	for _, it := range box.items {
		if it.state != ended {
			kept = append(kept, it)
		}
	}
	*box = mailbox{items: kept}
}

// of are a target's pending items. The loop may move them, but end none.
func (m mailboxes) of(target uint64) iter.Seq[*item] {
	return func(yield func(*item) bool) {
		box := m[target]
		if box == nil {
			return
		}
		for _, it := range box.items {
			if it.state != ended && !yield(it) {
				return
			}
		}
	}
}
