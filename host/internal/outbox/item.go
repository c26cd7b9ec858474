package outbox

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// state is where a downstream stands.
type state uint8

const (
	waiting state = iota // in ready, in suspects, in later until it is due, or behind its group's head
	taken                // in flight, on a connection or a route
	ending               // its outcome, or that it is canceled, is on its way to the disk; it still holds its group
	ended                // its outcome is on disk
)

// item is one pending downstream.
type item struct {
	entry.Downstream
	queue      *queue
	group      *group           // nil without one
	suspicion  *flow.Suspicion  // nil: it was answered, or it never left
	accusation *flow.Accusation // nil: the account was not refused over it
	refusals   uint64           // those of the account when it was handed out last
	conn       int32            // the connection that took it last
	last       tick             // when it was handed out last; 0: it was not, in this process
	unsaved    *unsaved         // of an ending one: the ledger did not take its end
	place      int32            // its index in ready, suspects or later; -1 in none
	expiry     int32            // its index in expiring; -1 when it is not there
	before     *item            // in the sender's line; nil when it is the first, or not there
	after      *item            // in the sender's line; nil when it is the last, or not there
	writes     int32            // how often it was handed out
	state      state
	routed     bool // it was handed out last by a route
	offRoute   bool // it goes by no route: one could not carry it
	unread     bool // it could not be read: it waits until it is due, a route or not
}

// accused is how often the account was refused over it.
func (it *item) accused() int {
	if it.accusation == nil {
		return 0
	}
	return it.accusation.Times
}

// tried is the last time that it was handed out; zero: it was not.
func (it *item) tried(now time.Time) entry.Attempt {
	if it.last == 0 {
		return entry.Attempt{}
	}
	a := entry.Attempt{Number: int(it.writes), Began: it.queue.timeOf(it.last, now), Via: string(message.Gateway)}
	if a.Took = now.Sub(a.Began); !it.routed {
		a.Via = string(it.queue.transport())
	}
	return a
}

// tick is a moment of the last five days: how long after its queue began, in steps of 100
// microseconds, as the lowest bits. There are very many items, so it is small. It is never 0.
type tick uint32

const tickTime = 100 * time.Microsecond

func (q *queue) tick(now time.Time) tick { return max(1, tick(now.Sub(q.began)/tickTime)) }

func (q *queue) timeOf(t tick, now time.Time) time.Time {
	return now.Add(-time.Duration(q.tick(now)-t) * tickTime)
}

// suspect reports whether it goes alone.
func (it *item) suspect() bool { return it.suspicion != nil && it.suspicion.Suspect }

// group is downstreams that go one after the other (P5). Only the head is in a
// queue or in flight.
type group struct {
	items []*item // the first has not ended; others may have, by their TTL
}

// head is the one that goes next. It stays the head until its end is on disk.
func (g *group) head() *item { return g.items[0] }

// drop forgets those that have ended before the next head.
func (g *group) drop() {
	for len(g.items) > 0 && g.head().state == ended {
		g.items[0] = nil
		g.items = g.items[1:]
	}
}

// add makes an item of what the ledger has accepted.
func (b *Outbox) add(d entry.Downstream, now time.Time) {
	if b.items[d.Seq] != nil {
		return
	}
	if last := now.Add(b.longest()); d.Due.After(last) && !d.Early {
		d.Due = last // the clock was wrong when it was postponed
	}
	q := b.queue(d.Session)
	it := &item{Downstream: d, queue: q, writes: int32(d.Attempts), place: -1, expiry: -1}
	b.items[d.Seq] = it
	q.pending++
	if !it.Early {
		q.line.add(it)
	}
	if q.boxes != nil {
		q.boxes.add(it)
	}
	if r := q.at[it.Target]; r != nil && r.ids != nil {
		r.ids[it.MessageID] = it
	}
	if d.Group != 0 {
		it.group = q.groups[d.Group]
		if it.group == nil {
			it.group = &group{}
			q.groups[d.Group] = it.group
		}
		it.group.items = append(it.group.items, it)
	}
	if !it.Expires.IsZero() {
		q.expiring.add(it)
	}
	q.put(it, now)
}

// longest is the longest wait that is ever imposed.
func (b *Outbox) longest() time.Duration {
	slow := max(b.o.Slow.Max, flow.MostImposed)
	return max(b.o.Retry.Max, slow+slow/2, b.o.Halt)
}

// remove forgets an item whose end is on disk, and frees the next of its group.
func (b *Outbox) remove(it *item, now time.Time) {
	q, g := it.queue, it.group
	q.release(it, now)
	it.state = ended
	delete(b.items, it.Seq)
	delete(b.traced, it.Seq)
	q.pending--
	q.line.remove(it)
	if q.boxes != nil {
		q.boxes.forget(it)
	}
	if r := q.at[it.Target]; r != nil {
		delete(r.ids, it.MessageID)
	}
	if g == nil || g.head() != it {
		return
	}
	g.drop()
	if len(g.items) == 0 {
		delete(q.groups, it.Group)
	} else if next := g.head(); next.state == waiting {
		q.put(next, now)
	}
}
