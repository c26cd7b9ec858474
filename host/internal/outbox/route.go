package outbox

import (
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// A route is one device that is connected by itself, beside its session's transport.
// What waits for the device is in the route's heap, and in none of its sender's. So retries,
// rests, halts and trials don't hold it up: these are the transport's. Only what waits for
// its NotBefore, or can't be read now, stays in the sender's later until it is due. Each
// downstream is with one of the two, and goes the other way only from there:
//
//	                 Attach: the device's           Attach: from its old route
//	sender's heaps ----------------------> route's heap ------------> another route's
//	  |    ^      <----------------------    |    ^
//	  |    |       Detach: with its Due      |    |
//	 Take  | Retry, Return, …              TakeAt | Return
//	  v    |                                 v    |
//	in flight, on a connection             in flight, on a route
//
// What was taken is in flight until it is answered or returned, whatever is attached and
// detached meanwhile. Then it goes where its target is at that time.
type route struct {
	queue   *queue
	targets []uint64         // that go by it; a newer route may have taken some
	ready   heap             // may go now, oldest first
	changed func()           // tells who takes from it that there may be more
	ids     map[string]*item // pending, by message id; nil: nobody has asked since the targets changed
}

// has returns the pending item with this message id; nil when there is none.
func (r *route) has(messageID string) *item {
	if r.ids == nil {
		r.ids = map[string]*item{}
		for _, target := range r.targets {
			for it := range r.queue.boxes.of(target) {
				r.ids[it.MessageID] = it
			}
		}
	}
	return r.ids[messageID]
}

// Attach makes the downstreams to these targets, all of one device, go by a new route
// ([Outbox.TakeAt]), and no longer by the transport or by an older route. What is in
// flight stays there until it is answered or returned. Attach looks only at what its device
// has pending. Only if the config has got the sender's gateway since the host started, the
// first Attach looks at all that is pending.
//
// changed is called whenever TakeAt may find more, at first perhaps before Attach returns. It
// must not wait, or call the outbox.
func (b *Outbox) Attach(sender string, changed func(), to ...message.Target) (number int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(sender)
	if q.boxes == nil {
		q.index(b.items)
	}
	b.attached++
	r := &route{queue: q, changed: changed, ready: heap{less: oldestFirst, index: placeIndex}}
	q.routes[b.attached] = r
	for _, t := range to {
		target := entry.TargetHash(sender, t)
		switch old := q.at[target]; {
		case old == r:
			continue
		case old != nil:
			old.targets = slices.DeleteFunc(old.targets, func(t uint64) bool { return t == target })
			old.ids = nil
		}
		r.targets = append(r.targets, target)
		q.redirect(target, r, now)
	}
	return b.attached
}

// index prepares the queue for routes; all are the items that there are so far.
func (q *queue) index(all map[uint64]*item) {
	q.boxes, q.at, q.routes = mailboxes{}, map[uint64]*route{}, map[int]*route{}
	for _, it := range all {
		if it.queue == q {
			q.boxes.add(it)
		}
	}
}

// Detach ends a route. What waits goes by the session's transport again, when it is due.
// What is in flight on the route has to be answered or returned all the same.
func (b *Outbox) Detach(sender string, number int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(sender)
	r := q.routes[number]
	if r == nil {
		return
	}
	delete(q.routes, number)
	for _, target := range r.targets {
		q.redirect(target, nil, now)
	}
}

// redirect makes a target's downstreams go by a route from now on; nil: by the transport.
func (q *queue) redirect(target uint64, to *route, now time.Time) {
	for it := range q.boxes.of(target) {
		if it.state == waiting {
			q.unqueue(it)
		}
	}
	if to == nil {
		delete(q.at, target)
	} else {
		q.at[target] = to
	}
	for it := range q.boxes.of(target) {
		if it.state == waiting {
			q.put(it, now)
		}
	}
	if q.trial.State() == flow.Waiting {
		q.signal() // perhaps the suspect that waited has gone, so the others may go
	}
}

// route is the one by which an item goes; nil: the transport.
func (q *queue) route(it *item) *route {
	if it.offRoute || it.unread || it.Early {
		return nil
	}
	return q.at[it.Target]
}

// TakeAt hands out up to n downstreams that go by a route now, oldest first. As with
// Take, the route has each until it says what became of it, or returns it.
func (b *Outbox) TakeAt(sender string, number, n int) []entry.Outgoing {
	return b.hand(n, func(n int, now time.Time) (picked []*item) {
		q := b.queue(sender)
		r := q.routes[number]
		if r == nil || q.paused {
			return nil
		}
		for it := r.ready.top(); it != nil && len(picked) < n; it = r.ready.top() {
			q.leave(it, now)
			it.routed = true
			q.routed++
			picked = append(picked, it)
		}
		return picked
	})
}

// Pending returns the downstream with this id to the route's device. ok is false when none
// is pending.
func (b *Outbox) Pending(sender string, number int, messageID string) (m message.Checked, ok bool) {
	b.mu.Lock()
	r := b.queue(sender).routes[number]
	var it *item
	if r != nil {
		it = r.has(messageID)
	}
	pending := it != nil && it.state != ending
	b.mu.Unlock()
	if !pending {
		return m, false
	}
	m, err := b.o.Ledger.Take(it.Seq) // the device has it, so nobody cancels it; may read the disk: not under mu
	return m, err == nil
}

// Has ends a downstream as acked, because the route's device has it, whoever brought it
// there. It reports whether one to this device with this id was pending.
func (b *Outbox) Has(sender string, number int, messageID string) bool {
	now := time.Now()
	b.mu.Lock()
	r := b.queue(sender).routes[number]
	var it *item
	if r != nil {
		it = r.has(messageID)
	}
	if it == nil || it.state == ending {
		b.mu.Unlock()
		return false
	}
	record := b.delivered(it, now)
	b.mu.Unlock()
	record()
	return true
}
