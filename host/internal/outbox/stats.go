package outbox

import (
	"maps"
	"slices"
	"time"

	"balhost/host/internal/flow"
	"balhost/host/internal/status"
)

// Stats say what is in the outbox now.
type Stats struct {
	Pending int       // without an outcome, whatever they wait for
	Ready   int       // may go as soon as a connection, or the route of its device, has room
	Later   int       // wait until they are due: after a refusal, because their target rests, or for their NotBefore
	Early   int       // of these, those that wait for their NotBefore
	Oldest  time.Time // from when on the first of them could go; one that waits for its NotBefore doesn't count; zero for none
	Next    time.Time // when the first of them may go; zero for none
	Taken   int       // with a connection or a route
	Routes  int       // devices that are connected by themselves
	Groups  int       // groups that have anything pending
	Slowed  int       // targets that rest
	Halted  int       // senders whose account is refused
	// HaltedUntil is when such a sender tries again; of several, the last.
	HaltedUntil time.Time
	Resting     int // senders that rest: they were sent too much
	// RestsUntil is when such a sender goes on; of several, the last.
	RestsUntil time.Time
	Troubles   []status.Trouble // if one sender was asked for: why its downstreams were not taken, the last one first
}

// Stats are those of these senders, by id, or of all.
func (b *Outbox) Stats(senders ...string) Stats {
	all, oldest := b.stats(senders)
	for _, seq := range oldest { // without mu: it may read the disk
		if since := b.o.Ledger.DownstreamSince(seq); !since.IsZero() && (all.Oldest.IsZero() || since.Before(all.Oldest)) {
			all.Oldest = since
		}
	}
	return all
}

// stats are Stats without Oldest, and the seq of each sender's oldest.
func (b *Outbox) stats(senders []string) (all Stats, oldest []uint64) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(senders) == 0 {
		senders = slices.Collect(maps.Keys(b.queues))
	}
	for _, id := range senders {
		q := b.queue(id)
		if len(senders) == 1 {
			all.Troubles = q.troubles.List()
		}
		all.Pending += q.pending
		if q.line.first != nil {
			oldest = append(oldest, q.line.first.Seq)
		}
		all.Ready += len(q.ready.items) + len(q.suspects.items)
		for _, r := range q.routes {
			all.Ready += len(r.ready.items)
		}
		all.Routes += len(q.routes)
		all.Taken += q.routed
		all.Later += len(q.later.items)
		all.Early += q.early
		if it := q.later.top(); it != nil && (all.Next.IsZero() || it.Due.Before(all.Next)) {
			all.Next = it.Due
		}
		for _, n := range q.held {
			all.Taken += n
		}
		all.Groups += len(q.groups)
		all.Slowed += len(q.rests)
		if q.trial.State() == flow.Halted {
			all.Halted++
			if until := q.trial.Until(); until.After(all.HaltedUntil) {
				all.HaltedUntil = until
			}
		}
		if q.resting.After(now) {
			all.Resting++
			if q.resting.After(all.RestsUntil) {
				all.RestsUntil = q.resting
			}
		}
	}
	return all, oldest
}

// Senders are the ids of the senders that have anything pending, sorted.
func (b *Outbox) Senders() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id, q := range b.queues {
		if q.pending > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
