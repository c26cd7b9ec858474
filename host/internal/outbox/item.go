package outbox

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
)

// state is where a downstream stands. Its place among the queues follows from
// it: only a waiting one is in any.
type state uint8

const (
	waiting state = iota // in its session's ready, suspects or later, or behind its group's head
	taken                // with a transport; can't expire
	ending               // its outcome is on its way to the disk; still holds its group
	ended                // and is there
)

// item is one pending downstream.
type item struct {
	entry.Downstream
	session  *session
	group    *group // nil without one
	state    state
	conn     int       // the connection that took it last
	losses   int       // connections in a row that ended without an answer to it
	answers  uint64    // its session's answers at the last of these
	compared bool      // another has had its answer since the first
	proofs   int       // of these, those with it alone since then
	holds    int       // waits in a row that count as no attempt
	refused  int       // times that CCS refused the account over it
	suspect  bool      // it may be what ended them: goes alone
	writes   int       // how often it was handed out
	refusals int       // how often the ledger did not take its end
	when     time.Time // in later: until then
	target   string    // "" until it was read once
	queue    int       // its index in ready, suspects or later, -1 in none
	expiry   int       // its index in expiring, -1 when it is not in
}

// group is a run of downstreams that go one after the other (P5). The head is
// the only one that is in a queue or in flight.
type group struct {
	items []*item // the first has not ended; others may have, by their TTL
}

// head is the one whose turn it is; an ending one keeps its turn until its end is on disk.
func (g *group) head() *item { return g.items[0] }

// drop forgets those that have ended before the next head.
func (g *group) drop() {
	for len(g.items) > 0 && g.head().state == ended {
		g.items[0] = nil
		g.items = g.items[1:]
	}
}

// add indexes one that the ledger has accepted.
func (b *Outbox) add(d entry.Downstream, now time.Time) {
	if b.items[d.Seq] != nil {
		return
	}
	s := b.session(d.Session)
	if last := now.Add(b.longest()); d.Due.After(last) {
		d.Due = last // the clock was wrong when it was postponed
	}
	it := &item{Downstream: d, session: s, writes: d.Attempts, queue: -1, expiry: -1}
	b.items[d.Seq] = it
	s.pending++
	if d.Group != 0 {
		it.group = s.groups[d.Group]
		if it.group == nil {
			it.group = &group{}
			s.groups[d.Group] = it.group
		}
		it.group.items = append(it.group.items, it)
	}
	if !it.Expires.IsZero() {
		b.expiring.push(it)
	}
	b.place(it, now)
}

// longest is the longest wait that is ever imposed.
func (b *Outbox) longest() time.Duration {
	return max(b.o.Retry.Max, b.o.Slow.Max+b.o.Slow.Max/2, b.o.Halt)
}

// place puts a waiting item where it belongs now.
func (b *Outbox) place(it *item, now time.Time) {
	s := it.session
	s.unqueue(it)
	if it.group != nil && it.group.head() != it {
		return // behind its group's head
	}
	it.when = it.Due
	if until := s.resting(it.target, now, b.rnd); until.After(it.when) {
		it.when = until
	}
	switch {
	case it.when.After(now):
		s.later.push(it)
		if s.later.top() == it {
			b.hint()
		}
		return
	case it.suspect:
		s.suspects.push(it)
	default:
		s.ready.push(it)
	}
	s.signal()
}

// putBack makes a taken item wait again. If its time ran out while it was in
// flight, Run ends it next.
func (b *Outbox) putBack(it *item, now time.Time) {
	it.session.release(it)
	it.state = waiting
	if !it.Expires.IsZero() {
		b.expiring.push(it)
		if flow.Expired(now, it.Expires) {
			b.hint()
			return
		}
	}
	b.place(it, now)
}

// remove forgets an item whose end is on disk, and frees the next of its group.
func (b *Outbox) remove(it *item) {
	b.expiring.remove(it)
	it.session.release(it)
	it.state = ended
	delete(b.items, it.Seq)
	it.session.pending--
	g := it.group
	if g == nil || g.head() != it {
		return
	}
	g.drop()
	if len(g.items) == 0 {
		delete(it.session.groups, it.Group)
	} else if next := g.head(); next.state == waiting {
		b.place(next, time.Now())
	}
}

// hint makes Run look again.
func (b *Outbox) hint() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
