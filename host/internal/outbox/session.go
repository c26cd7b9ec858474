package outbox

import (
	"math/rand/v2"
	"slices"
	"time"
)

// session is the part of the outbox that goes out over one CCS sender.
type session struct {
	id       string        // the sender's
	changed  chan struct{} // closed when Take may find more; nil: nobody has asked for it since
	look     func()        // has Run look at the times again
	ready    heap          // may go now, oldest first
	suspects heap          // these too, each alone
	later    heap          // wait for a time, soonest first
	groups   map[uint64]*group
	pending  int             // without an outcome on disk
	taken    int             // of these, with a connection
	held     map[int]int     // of these, by connection; none is 0
	turn     turn            // of a suspect, or of the probe
	answers  uint64          // CCS's, each of which says that it could read a message and knows the account
	refused  uint64          // answers when CCS last refused the account
	rests    map[string]rest // targets that were sent too much; after a restart CCS says so anew
	halted   time.Time       // nothing goes before this: CCS refused the account
	probing  bool            // after that: one at a time, until CCS takes one
	sweep    time.Time       // when rests is looked through again
}

// rest is the pause of a target that CCS wants slower.
type rest struct {
	until time.Time
	times int // pauses in a row
}

// session is the sender's; it is made at the first question.
func (b *Outbox) session(id string) *session {
	s := b.sessions[id]
	if s == nil {
		s = &session{
			id:       id,
			look:     b.hint,
			ready:    heap{less: oldestFirst, index: queueIndex},
			suspects: heap{less: oldestFirst, index: queueIndex},
			later:    heap{less: soonestFirst, index: queueIndex},
			groups:   map[uint64]*group{},
			held:     map[int]int{},
			rests:    map[string]rest{},
		}
		b.sessions[id] = s
	}
	return s
}

// hint is closed by the next signal.
func (s *session) hint() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// signal wakes the session's connections.
func (s *session) signal() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// pick takes up to n items for a connection, or one that has to go alone.
func (s *session) pick(conn, n int, now time.Time) []*item {
	alone := s.turn.alone
	switch {
	case n <= 0, s.halted.After(now):
		return nil
	case alone != nil && (s.probing || alone.conn == conn):
		return nil // CCS's word on that one comes first
	case alone != nil: // on another connection
	case s.probing && s.ready.top() != nil:
		return s.takeAlone(s.probe(), conn, now)
	case s.suspectNext(now):
		if s.held[conn] > 0 {
			return nil // the first that is empty takes it
		}
		return s.takeAlone(s.suspects.top(), conn, now)
	}
	picked := make([]*item, 0, min(n, len(s.ready.items)))
	for ; n > 0 && s.ready.top() != nil; n-- {
		picked = append(picked, s.take(s.ready.top(), conn))
	}
	if len(picked) > 0 {
		s.othersGo(now)
	}
	return picked
}

// take hands it to a connection.
func (s *session) take(it *item, conn int) *item {
	s.unqueue(it)
	it.state, it.conn = taken, conn
	s.taken++
	s.held[conn]++
	return it
}

// unqueue takes it out of whatever queue it is in.
func (s *session) unqueue(it *item) {
	s.ready.remove(it)
	s.suspects.remove(it)
	s.later.remove(it)
}

// release takes it out of every queue, and out of flight.
func (s *session) release(it *item) {
	s.unqueue(it)
	if it.state == taken {
		it.state = waiting
		s.taken--
		if s.held[it.conn]--; s.held[it.conn] == 0 {
			delete(s.held, it.conn)
		}
	}
	s.turnOver(it)
}

// probe is the ready one that shows best whether CCS takes the account again:
// none that it has refused for that, if there is another.
func (s *session) probe() *item {
	best := s.ready.top()
	for _, it := range s.ready.items { // once in a halt
		if it.refused < best.refused || it.refused == best.refused && it.Seq < best.Seq {
			best = it
		}
	}
	return best
}

// accused notes that CCS refused the account over it, and reports whether it is
// the account, as far as we know. Where another had its answer since the last
// time it is the message.
func (s *session) accused(it *item) bool {
	it.refused++
	account := s.answers == s.refused
	s.refused = s.answers
	return account
}

// halt stops the session: CCS refused the account, not a message.
func (s *session) halt(until time.Time) {
	s.halted, s.probing = until, true
}

// Lift ends the halts of senders whose account CCS refused: a person says that
// it is mended. One downstream of each is tried now. It returns their ids.
func (b *Outbox) Lift() (senders []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range b.sessions {
		if !s.halted.IsZero() {
			s.halted = time.Time{}
			s.signal()
			senders = append(senders, id)
		}
	}
	slices.Sort(senders)
	return senders
}

// resume lets one go, once the halt has passed.
func (s *session) resume(now time.Time) {
	if !s.halted.IsZero() && !s.halted.After(now) {
		s.halted = time.Time{}
		s.signal()
	}
}

// recovered says that CCS took a message for target: nothing is held back for
// it any longer. It reports whether CCS had refused the account until then.
func (s *session) recovered(target string, now time.Time) (account bool) {
	if r, ok := s.rests[target]; ok && !r.until.After(now) {
		delete(s.rests, target)
	}
	if s.probing {
		s.halted, s.probing, account = time.Time{}, false, true
		s.look()
		s.signal()
	}
	return account
}

// slow makes target rest for what delay says about the pauses in a row. What
// was in flight already when a pause began doesn't make it longer.
func (s *session) slow(target string, now time.Time, delay func(times int) time.Duration) {
	r := s.rests[target]
	if r.until.After(now) {
		return
	}
	r.times++
	r.until = now.Add(delay(r.times))
	s.rests[target] = r
}

// resting is until when something for target has to wait, and zero when it
// need not. The waits are spread, lest all that waited goes at once.
func (s *session) resting(target string, now time.Time, rnd *rand.Rand) time.Time {
	r, ok := s.rests[target]
	if !ok || !r.until.After(now) {
		return time.Time{}
	}
	return r.until.Add(time.Duration(rnd.Int64N(int64(r.until.Sub(now))/2 + 1)))
}

// forget drops pauses that ended more than keep ago, so that the map doesn't grow.
func (s *session) forget(now time.Time, keep time.Duration) {
	if now.Before(s.sweep) {
		return
	}
	s.sweep = now.Add(keep)
	for target, r := range s.rests {
		if now.Sub(r.until) > keep {
			delete(s.rests, target)
		}
	}
}
