package outbox

import (
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
)

// Standing is what a pending downstream waits for.
type Standing struct {
	For    Reason
	Since  time.Time // Answer: when it was sent
	Until  time.Time // it goes not before this; zero: that is not known
	Behind uint64    // Group: the seq of its head
	Before int       // Room: downstreams that go before it, about
	Conn   int       // Answer: the connection that has it; 0: the route of its device
}

// Reason is why a downstream waits.
type Reason int

// The reasons. Of several, the one that comes first counts.
const (
	Unknown   Reason = iota // the outbox has not heard of it yet, or not any more
	Answer                  // it was sent, and is not answered
	Recording               // its end is on its way to the disk
	Paused                  // a person has paused its session
	Group                   // another one of its group goes first
	Time                    // its NotBefore lies ahead
	Due                     // it waits for its next attempt
	Target                  // its target is sent too much
	Rest                    // its sender is sent too much
	Halt                    // its sender's account is refused
	Suspect                 // it goes alone, because connections may have ended over it
	Room                    // a connection with room
)

// Standing says what a pending downstream waits for.
func (b *Outbox) Standing(seq uint64) Standing {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.items[seq]
	if it == nil {
		return Standing{}
	}
	q := it.queue
	switch {
	case it.state == taken:
		s := Standing{For: Answer, Since: q.timeOf(it.last, now), Conn: int(it.conn)}
		if it.routed {
			s.Conn = 0
		}
		return s
	case it.state == ending:
		return Standing{For: Recording}
	case q.paused:
		return Standing{For: Paused}
	case it.group != nil && it.group.head() != it:
		return Standing{For: Group, Behind: it.group.head().Seq}
	case it.Due.After(now) && it.Early:
		return Standing{For: Time, Until: it.Due}
	case q.route(it) != nil:
		return Standing{For: Room}
	case q.rests[it.Target].until.After(now):
		return Standing{For: Target, Until: q.rests[it.Target].until}
	case it.Due.After(now):
		return Standing{For: Due, Until: it.Due}
	case q.resting.After(now):
		return Standing{For: Rest, Until: q.resting}
	}
	if q.trial.State() == flow.Halted {
		return Standing{For: Halt, Until: q.trial.Until()}
	}
	if it.suspect() {
		return Standing{For: Suspect}
	}
	return Standing{For: Room, Before: q.before(it)}
}

// InFlight reports whether a downstream was sent and is not answered, and how it was sent.
func (b *Outbox) InFlight(seq uint64) (sent entry.Attempt, inFlight bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.items[seq]
	if it == nil || it.state != taken {
		return sent, false
	}
	sent = it.tried(now)
	sent.Took = 0 // it is not over
	return sent, true
}

// Try has downstreams go now that wait for their next attempt, and returns which. One whose
// target, sender or NotBefore has to wait stays, as does one behind another of its group.
// The attempts stay counted. After a restart of the host, those that have not gone wait as before.
func (b *Outbox) Try(seqs []uint64) (tried []uint64) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, seq := range seqs {
		it := b.items[seq]
		if it == nil || it.state != waiting || it.Early || !it.Due.After(now) || it.queue.rests[it.Target].until.After(now) ||
			it.group != nil && it.group.head() != it {
			continue
		}
		it.Due = now
		it.queue.put(it, now)
		tried = append(tried, seq)
	}
	return tried
}

// before counts the ready ones that are older.
func (q *queue) before(it *item) (n int) {
	const enough = 10_000 // the lock is everybody's
	for i, other := range q.ready.items {
		if i == enough {
			break
		}
		if other.Seq < it.Seq {
			n++
		}
	}
	return n
}
