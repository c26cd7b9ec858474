package outbox

import (
	"fmt"
	"time"

	"balhost/host/internal/flow"
)

// A suspect is a downstream that may be what ends connections: CCS ended the
// stream over bytes of ours, or over a policy, while it was in flight, or several connections in a
// row ended before it had its answer ([flow.JudgeLoss]). It goes alone on its
// connection, so that what happens then harms no other, and is compared with what
// happens to others: a message fails only when connections end with it and live
// without it. Where nothing else gets through either it waits, until its TTL.
//
// What one message can cost, over which CCS ends every connection, without ever
// saying why: three connections end with it and whatever else is in flight, which
// goes again, and fifteen more with it alone, after ever longer waits; after about
// 50 minutes it has failed. A session with one connection is without it for 8 to
// 13 s in all, 24 s at worst, and no other message waits more than some seconds.
// Where CCS says that it can't read our bytes, it has failed after three; never answered, after 18 connections of which
// each is replaced without a gap (ccs.TestPoisonHarmsNoOther has the figures).

// patience is how long a suspect may hold others up: while it waits for a
// connection to be empty, and then while it waits for its answer. What ends a
// connection does so as soon as CCS has read it.
const patience = 2 * time.Second

// turn is that of a suspect. While it waits, connections that have something in
// flight take nothing more, until one is empty and takes it (those that drain
// take nothing anyway). Then that one takes nothing more, until CCS has answered
// the suspect. Both end when patience is over: something in flight, or the
// suspect itself, may never be answered. Afterwards the others have as much
// time, from the moment when one of them goes, so that no number of suspects
// takes more than half of it. On a new connection they are first.
//
// A session that probes has its one message in flight as alone here too; that
// waits for no empty connection, and its turn ends with its answer only.
type turn struct {
	begun  time.Time     // zero: it is nobody's
	until  time.Time     // when patience is over
	alone  *item         // in flight with nothing beside it; nil: it waits for an empty connection
	took   time.Duration // the last turn
	lapsed bool          // and no connection was empty in all of it
	owed   bool          // no turn begins before one of the others has gone, if any is ready
	rest   time.Time     // and then not before this; zero: one may
}

// suspectNext reports whether nothing goes before a suspect does. It begins the turn.
func (s *session) suspectNext(now time.Time) bool {
	t := &s.turn
	switch {
	case s.suspects.top() == nil, s.ready.top() != nil && (t.owed || now.Before(t.rest)):
		return false
	case t.begun.IsZero():
		limit := patience
		if t.lapsed {
			limit = max(limit, 2*t.took) // or it may never come
		}
		t.begun, t.until = now, now.Add(limit)
		s.look()
	}
	return true
}

// othersGo notes that others than suspects are handed out.
func (s *session) othersGo(now time.Time) {
	if t := &s.turn; t.owed {
		t.owed, t.rest = false, now.Add(t.took)
		s.look()
	}
}

// takeAlone hands it to a connection that takes nothing else meanwhile; the
// others go on.
func (s *session) takeAlone(it *item, conn int, now time.Time) []*item {
	t := &s.turn
	if t.begun.IsZero() {
		t.begun = now
	}
	t.alone, t.until = it, now.Add(patience)
	s.look()
	s.signal()
	return []*item{s.take(it, conn)}
}

// turnOver ends the turn of it, which has left a queue or a connection. While a
// suspect waits, connections that may be empty now look again.
func (s *session) turnOver(it *item) {
	t := &s.turn
	switch {
	case t.begun.IsZero():
	case t.alone == it:
		s.endTurn(time.Now())
	case t.alone == nil && s.held[it.conn] == 0:
		s.signal()
	}
}

func (s *session) endTurn(now time.Time) {
	t := &s.turn
	t.took, t.lapsed, t.owed, t.rest = now.Sub(t.begun), t.alone == nil, true, time.Time{}
	t.begun, t.alone = time.Time{}, nil
	s.look()
	s.signal()
}

// lapse ends a turn, or the others' time after it, that has lasted long enough.
// It says when to look again; zero: not because of that.
func (s *session) lapse(now time.Time) time.Time {
	t := &s.turn
	if !t.begun.IsZero() && s.probing {
		return time.Time{} // CCS's word ends it, or the connection's end
	}
	if !t.begun.IsZero() && !t.until.After(now) {
		s.endTurn(now)
	}
	if !t.begun.IsZero() {
		return t.until
	}
	if !t.rest.IsZero() && !t.rest.After(now) {
		t.rest = time.Time{}
		s.signal()
	}
	return t.rest
}

// Return takes back what a connection that has ended left unanswered: it goes
// again, oldest first, with the same message id and no attempt counted (P3),
// unless it is suspected of having ended the connection, see [flow.JudgeLoss].
// Return reports whether the end is put down to one of them.
func (b *Outbox) Return(session string, seqs []uint64, end flow.End) (blamed bool) {
	now := time.Now()
	var records []func()
	b.mu.Lock()
	for _, seq := range seqs {
		it := b.items[seq]
		if it == nil || it.state != taken {
			continue
		}
		loss := it.lose(end, len(seqs) == 1)
		blamed = blamed || loss.Blames()
		code, description := describe(loss, end.Why)
		if attempt := it.Attempts + 1; loss.Suspect && !end.Fault.Acquits() {
			records = append(records, func() {
				b.log.Warn("connection ended over one downstream", "msg_id", it.MessageID, "attempt", attempt, "code", code, "err", end.Why)
			})
		}
		records = append(records, b.obey(it, flow.JudgeLoss(loss, it.Attempts+1, b.o.Attempts), code, description, now))
	}
	b.mu.Unlock()
	for _, record := range records {
		record()
	}
	return blamed
}

// lose notes a loss; only: nothing else was unanswered.
func (it *item) lose(end flow.End, only bool) flow.Loss {
	if end.Fault.Acquits() { // it is as if it had not been sent
		return flow.Loss{End: end, Times: it.losses, Suspect: it.suspect}
	}
	compared := it.losses > 0 && it.session.answers != it.answers
	it.losses++
	it.answers, it.compared = it.session.answers, it.compared || compared
	if it.suspect && only && it.compared {
		it.proofs++
	}
	return flow.Loss{
		End: end, Times: it.losses, Suspect: it.suspect, Only: only, Compared: compared, Ever: it.compared, Proofs: it.proofs,
	}
}

// acquit forgets what it was suspected of: CCS could read it.
func (it *item) acquit() {
	it.suspect, it.losses, it.compared, it.proofs, it.holds = false, 0, false, 0, 0
}

// describe is the code and the text of an outcome that a loss brings about.
func describe(l flow.Loss, why string) (code, description string) {
	code, what := CodeConnectionLost, "its connection ended before CCS answered"
	if l.Fault == flow.Bytes || l.Fault == flow.Policy {
		code, what = CodeStreamError, "CCS ended the stream before it answered"
	}
	others := "while others got through"
	if !l.Ever {
		others = "and nothing else got through meanwhile"
	}
	return code, fmt.Sprintf("%s, %d times in a row, the last ones with this message alone, %s; at last: %s", what, l.Times, others, why)
}
