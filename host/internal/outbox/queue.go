package outbox

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/host/internal/tally"
	"balhost/sdk/message"
)

// queue is what waits for one sender, and goes out over any of its connections, or by
// the route of its device.
type queue struct {
	sender  string
	rnd     *rand.Rand
	changed chan struct{} // closed when Take may find more; nil: nobody has asked since
	look    func()        // has Run look at the times again
	began   time.Time

	transport func() message.Transport // by which it goes now, unless a route has it

	ready    heap // may go now, oldest first
	suspects heap // may go now, each alone
	later    heap // wait until they are due, soonest first
	early    int  // of these, how many wait for their NotBefore
	expiring heap // can expire, soonest first: those in flight can't
	line     line // all that could go before now, whatever it waits for
	groups   map[uint64]*group
	paused   bool        // a person has paused it: none goes out
	pending  int         // without an outcome on disk
	held     map[int]int // of these, in flight, by connection; none is 0

	boxes  mailboxes         // all that is pending; nil: no route was ever attached, and the sender has no gateway
	at     map[uint64]*route // by target
	routes map[int]*route    // by number; those without a target are in here only
	routed int               // in flight, on routes

	trial   flow.Trial      // which of them may go
	seen    flow.TrialState // the state of trial when connections were last woken over it
	until   time.Time       // and until when it was to last
	resting time.Time       // none goes until then: the sender is sent too much; zero: it does not rest
	rests   map[uint64]rest // by target

	troubles tally.Troubles // why its downstreams were not taken
	sweep    time.Time      // when rests is looked through again
}

// mostMoved is how many items whose target rests one look moves at most.
const mostMoved = 1000

// rest is the pause of a target whose peer wants it slower. It is not on disk: after a
// restart the peer says so again.
type rest struct {
	until time.Time
	times int // pauses in a row
}

// queue returns that of a sender, and makes it if there is none.
func (b *Outbox) queue(sender string) *queue {
	q := b.queues[sender]
	if q == nil {
		q = &queue{
			sender:   sender,
			rnd:      b.rnd,
			look:     b.hint,
			began:    time.Now(),
			ready:    heap{less: oldestFirst, index: placeIndex},
			suspects: heap{less: oldestFirst, index: placeIndex},
			later:    heap{less: soonestFirst, index: placeIndex},
			expiring: heap{less: endsFirst, index: expiryIndex},
			groups:   map[uint64]*group{},
			held:     map[int]int{},
			rests:    map[uint64]rest{},
		}
		q.transport = func() message.Transport {
			if b.o.Senders == nil {
				return message.CCS
			}
			return cmp.Or(b.o.Senders().Transport(sender), message.CCS)
		}
		if b.o.Senders != nil && b.o.Senders().Gateway(sender) {
			q.index(nil)
		}
		b.queues[sender] = q
	}
	return q
}

// signal wakes the sender's connections.
func (q *queue) signal() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// heed wakes the connections and Run when the state of the trial has changed.
func (q *queue) heed() {
	if until := q.trial.Until(); !until.Equal(q.until) {
		q.until = until
		q.look()
	}
	if now := q.trial.State(); now != q.seen {
		q.seen = now
		q.signal()
	}
}

// pick hands a connection what it may have now: up to n, or one that goes alone.
func (q *queue) pick(conn, n int, now time.Time) (picked []*item) {
	if q.paused || q.resting.After(now) {
		return nil
	}
	defer q.heed()
	next := q.trial.Next(now, flow.Asking{
		Conn: conn, Empty: q.held[conn] == 0, Others: q.first(&q.ready, now) != nil, Suspects: q.first(&q.suspects, now) != nil,
	})
	var alone *item
	switch next {
	case flow.Nothing:
		return nil
	case flow.Others:
		picked = make([]*item, 0, min(n, len(q.ready.items)))
		for it := q.ready.top(); it != nil; it = q.first(&q.ready, now) {
			q.take(it, conn, now)
			if picked = append(picked, it); len(picked) == n {
				break
			}
		}
		return picked
	case flow.Suspect:
		alone = q.suspects.top()
	case flow.Probe:
		alone = q.probe(now)
	}
	q.take(alone, conn, now)
	q.trial.Sent(now, alone.Seq, conn)
	return []*item{alone}
}

// first returns the first of ready or suspects that may go, or nil. Those before
// it, whose target rests, go to later. Where these are very many, the connection has
// to look again, so that others get mu meanwhile.
func (q *queue) first(h *heap, now time.Time) *item {
	it := h.top()
	for moved := 0; it != nil && q.rests[it.Target].until.After(now); it = h.top() {
		if moved++; moved > mostMoved {
			q.signal()
			return nil
		}
		q.put(it, now)
	}
	return it
}

// probe returns the ready one that shows best whether the account is taken again:
// the one over which it was refused least often.
func (q *queue) probe(now time.Time) *item {
	best := q.ready.top()
	for _, it := range q.ready.items { // once in a halt
		better := it.accused() < best.accused() || it.accused() == best.accused() && it.Seq < best.Seq
		if better && !q.rests[it.Target].until.After(now) {
			best = it
		}
	}
	return best
}

// take hands it to a connection.
func (q *queue) take(it *item, conn int, now time.Time) {
	q.leave(it, now)
	it.conn, it.refusals, it.routed = int32(conn), q.trial.Refusals(), false
	q.held[conn]++
}

// leave makes a waiting item one in flight.
func (q *queue) leave(it *item, now time.Time) {
	q.unqueue(it)
	q.expiring.remove(it)
	it.state = taken
	it.writes++
	it.last = q.tick(now)
}

// unqueue takes it out of ready, suspects, later, or the heap of its route.
func (q *queue) unqueue(it *item) {
	q.ready.remove(it)
	q.suspects.remove(it)
	if q.later.remove(it) && it.Early {
		q.early--
	}
	if r := q.at[it.Target]; r != nil {
		r.ready.remove(it)
	}
}

// release takes it out of every heap, and out of flight.
func (q *queue) release(it *item, now time.Time) {
	q.unqueue(it)
	q.expiring.remove(it)
	if it.state == taken {
		it.state = waiting
		if it.routed {
			q.routed--
			return
		}
		if q.held[int(it.conn)]--; q.held[int(it.conn)] == 0 {
			delete(q.held, int(it.conn))
		}
		q.trial.Left(now, it.Seq)
	}
	q.heed()
	if q.held[int(it.conn)] == 0 && (q.suspects.top() != nil || q.trial.State() == flow.Waiting) {
		q.signal() // it may take a suspect; and if the suspect was this one, the others go on
	}
}

// put puts a waiting item into the heap in which it belongs now.
func (q *queue) put(it *item, now time.Time) {
	q.unqueue(it)
	if it.group != nil && it.group.head() != it {
		return // behind its group's head
	}
	if !it.Due.After(now) {
		it.unread, it.Early = false, false
		q.line.add(it)
	}
	if r := q.route(it); r != nil {
		r.ready.add(it)
		r.changed()
		return
	}
	if it.Early {
		q.early++
	} else {
		q.delay(it, now)
	}
	switch {
	case it.Due.After(now):
		q.later.add(it)
		if q.later.top() == it {
			q.look()
		}
		return
	case it.suspect():
		q.suspects.add(it)
	default:
		q.ready.add(it)
	}
	q.signal()
}

// delay makes it due after the rest of its target. The waits are spread, so that
// not all of them end at once.
func (q *queue) delay(it *item, now time.Time) {
	left := q.rests[it.Target].until.Sub(now)
	if left <= 0 {
		return
	}
	if until := now.Add(q.spread(left)); until.After(it.Due) {
		it.Due = until
	}
}

// spread is d, and up to half of it more.
func (q *queue) spread(d time.Duration) time.Duration {
	return d + time.Duration(q.rnd.Int64N(int64(max(0, d))/2+1))
}

// putBack makes a taken item wait again. If it has expired in flight, Run ends it
// next.
func (q *queue) putBack(it *item, now time.Time) {
	q.release(it, now)
	if !it.Expires.IsZero() {
		q.expiring.add(it)
		if flow.Expired(now, it.Expires) {
			q.look()
			return
		}
	}
	q.put(it, now)
}

// end takes it out for good; its group waits until its end is on disk. The caller
// gives what end returns to record, without holding mu.
func (q *queue) end(it *item, now time.Time, e entry.End) entry.End {
	if it.state == taken || e.Status == message.Acked { // else its last attempt was in vain, and is known
		e.Last = it.tried(now)
	}
	q.release(it, now)
	it.state, it.Early = ending, false
	e.Seq, e.Attempts = it.Seq, int(it.writes)
	return e
}

// advance ends what has expired, and moves what is due. It returns the ends to
// record, and tells sooner when it has to look again.
func (q *queue) advance(now time.Time, sooner func(time.Time)) (ends []entry.End) {
	for it := q.expiring.top(); it != nil; it = q.expiring.top() {
		if !flow.Expired(now, it.Expires) {
			sooner(it.Expires.Add(lastSecond))
			break
		}
		q.troubles.Add(tally.Cause{Reason: "its time to live ran out before it could go", Ended: true}, now)
		ends = append(ends, q.end(it, now, entry.End{Status: message.Expired}))
	}
	for it := q.later.top(); it != nil; it = q.later.top() {
		if it.Due.After(now) {
			sooner(it.Due)
			break
		}
		if it.state == ending {
			q.later.remove(it)
			ends = append(ends, it.unsaved.End)
			continue
		}
		q.put(it, now)
	}
	switch {
	case q.resting.After(now):
		sooner(q.resting)
	case !q.resting.IsZero():
		q.resting = time.Time{}
		q.signal()
	}
	q.trial.Tick(now)
	q.heed()
	if until := q.trial.Until(); !until.IsZero() {
		sooner(until)
	}
	return ends
}

// slow makes a target rest, for least at least; wait says how long after so many pauses
// in a row. Refusals of what was in flight when a pause began don't make the pause longer,
// unless the peer asks for that.
func (q *queue) slow(target uint64, now time.Time, least time.Duration, wait func(times int) time.Duration) {
	r := q.rests[target]
	if !r.until.After(now) {
		r.times++
		r.until = now.Add(wait(r.times))
	}
	if until := now.Add(least); until.After(r.until) {
		r.until = until
	}
	q.rests[target] = r
}

// unasked is how long a sender rests when its peer doesn't say how long.
// Spec: fcm-v1-and-gateway.md A5.
const unasked = time.Minute

// rest makes the whole sender rest, for least if that is not zero. Refusals of what was
// in flight when the rest began don't make it longer, unless the peer asks for that. It is
// not on disk: after a restart the peer says so again.
func (q *queue) rest(now time.Time, least time.Duration) {
	switch {
	case !q.resting.After(now):
		q.resting = now.Add(q.spread(cmp.Or(least, unasked)))
	case now.Add(least).After(q.resting):
		q.resting = now.Add(q.spread(least))
	default:
		return
	}
	q.look()
}

// forget drops the rests that ended more than keep ago, so that the map doesn't grow.
func (q *queue) forget(now time.Time, keep time.Duration) {
	if now.Before(q.sweep) {
		return
	}
	q.sweep = now.Add(keep)
	maps.DeleteFunc(q.rests, func(_ uint64, r rest) bool { return now.Sub(r.until) > keep })
}

// Lift ends the halts of senders whose account was refused, because a person says
// that the account is in order. One downstream of each is tried now. It returns the
// ids of these senders. A sender that rests goes on resting: no person can say that its
// peer takes more now.
func (b *Outbox) Lift() (senders []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, q := range b.queues {
		if q.trial.Lift() {
			senders = append(senders, id)
		}
		q.heed()
	}
	slices.Sort(senders)
	return senders
}
