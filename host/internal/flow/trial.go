package flow

import "time"

// Trial decides which of a sender's downstreams may go now. It knows two
// reasons why one has to go alone.
//
// A suspect may be what ends connections ([JudgeLoss]). It goes alone on its
// connection, so that an end harms no other, and the others go on elsewhere. It
// needs an empty connection. So connections that have something in flight take
// nothing more, until one of them is empty. Neither that wait nor the wait for the
// suspect's answer may last long: an answer may never come. After a trial the
// others get as much time as it took, so that any number of suspects takes half of
// the time at most.
//
// A probe shows whether the peer takes the account again that it has refused. The
// whole sender waits for its answer, as long as that takes. See [Trial.Accused].
//
// The caller asks ([Trial.Next]), and says what happened. testdata/trial.txt and
// testdata/account.txt show what follows from what.
type Trial struct {
	state TrialState
	until time.Time     // when the state ends by itself; zero: it does not
	begun time.Time     // Waiting, Alone, ProbeSent: when the trial began
	took  time.Duration // how long the last trial lasted
	limit time.Duration // how long the next wait for an empty connection may last, if longer than patience
	seq   uint64        // Alone, ProbeSent: the downstream in flight
	conn  int           // and its connection

	answers uint64  // of the peer
	vouches uint64  // of these, those that show that it knows the account
	refused refusal // the last one of the account
	faults  uint64  // of the refusals, those where the account was at fault
}

// refusal is when the peer refused the account.
type refusal struct {
	times   uint64 // that it has done so
	at      time.Time
	vouches uint64 // until then
}

// Accusation is what is remembered of a downstream over which the peer refused the
// account.
type Accusation struct {
	Times   int    // that it did so
	Blamed  int    // of these, those where the message was at fault, since the account last was
	vouches uint64 // at the last of them
	faults  uint64 // of the account, until then
}

// TrialState names what a [Trial] waits for.
type TrialState uint8

// The states of a trial.
const (
	Idle      TrialState = iota // nobody is tried, and a suspect may be next
	Waiting                     // a suspect waits for an empty connection
	Alone                       // a suspect is in flight, with nothing beside it
	Owed                        // one of the others goes before the next suspect
	Pause                       // the others have as much time as the last trial took
	Halted                      // the peer refuses the account: nothing goes
	ProbeDue                    // the next one goes alone, and shows whether the peer takes the account again
	ProbeSent                   // that one is in flight
)

// Next is what a connection may take.
type Next uint8

// The answers of [Trial.Next].
const (
	Nothing Next = iota
	Others       // as many as it wants, but no suspect
	Suspect      // the oldest suspect; say so with [Trial.Sent]
	Probe        // one of the others; say so with [Trial.Sent]
)

// Asking is a connection that could take something, and what there is.
type Asking struct {
	Conn     int
	Empty    bool // nothing that it took is unanswered
	Others   bool // a downstream that is no suspect is ready
	Suspects bool // a suspect is ready
}

// inTransit is how long after a refusal of the account an answer may come that was
// given before: to a downstream that went out before, by another of the peer's servers.
const inTransit = 10 * time.Second

// patience is how long a suspect may hold others up: while it waits for an empty
// connection, and then while it waits for its answer. A connection that ends over
// a message does so as soon as the peer has read it.
const patience = 2 * time.Second

// State is where the trial stands.
func (t *Trial) State() TrialState { return t.state }

// Until is when [Trial.Tick] is due; zero: never.
func (t *Trial) Until() time.Time { return t.until }

// Next says what a connection may take now.
func (t *Trial) Next(now time.Time, a Asking) Next {
	t.Tick(now)
	if t.state == Waiting && !a.Suspects { // the one that waited has expired
		t.end(now)
	}
	othersFirst := t.state == Alone || t.state == Owed || t.state == Pause
	switch {
	case t.state == Halted, t.state == ProbeSent, t.state == Alone && a.Conn == t.conn:
		return Nothing
	case t.state == ProbeDue && a.Others:
		return Probe
	case a.Others && (othersFirst || !a.Suspects):
		if t.state == Owed {
			t.enter(Pause, now.Add(t.took))
		}
		return Others
	case a.Suspects && a.Empty && t.state != Alone:
		return Suspect
	case a.Suspects && t.state == Idle:
		t.begun = now
		t.enter(Waiting, now.Add(max(patience, t.limit)))
	}
	return Nothing
}

// Sent notes that a suspect or a probe goes out on a connection.
func (t *Trial) Sent(now time.Time, seq uint64, conn int) {
	if t.state != Waiting {
		t.begun = now
	}
	t.seq, t.conn = seq, conn
	if t.state == ProbeDue {
		t.enter(ProbeSent, time.Time{})
	} else {
		t.enter(Alone, now.Add(patience))
	}
}

// Left notes that a downstream is no longer in flight: answered, or given back
// by a connection that has ended.
func (t *Trial) Left(now time.Time, seq uint64) {
	switch {
	case seq != t.seq:
	case t.state == Alone:
		t.end(now)
	case t.state == ProbeSent: // without an ack, which would have ended the probing
		t.enter(ProbeDue, time.Time{})
	}
}

// Isolated notes that there is another suspect. On the connection that comes next
// the others are first: their answers show whether connections live without it.
func (t *Trial) Isolated(now time.Time) {
	switch t.state {
	case Waiting:
		t.end(now)
		t.limit = 0
	case Idle, Pause:
		t.enter(Owed, time.Time{})
	}
}

// Answered notes that the peer answered a downstream, whatever it said. It could read it.
func (t *Trial) Answered() { t.answers++ }

// Answers is how many answers there were.
func (t *Trial) Answers() uint64 { return t.answers }

// Refusals is how often the peer has refused the account. A downstream that goes out
// keeps it for [Trial.Vouched] and [Trial.Acked].
func (t *Trial) Refusals() uint64 { return t.refused.times }

// Vouched notes an answer that shows that the peer knows the account. The downstream
// went out after so many refusals.
func (t *Trial) Vouched(now time.Time, refusals uint64) {
	if !t.early(now, refusals) {
		t.vouches++
	}
}

// early reports whether the answer to a downstream may have been given before the
// account was refused. Then it shows nothing. Where many requests are in flight, their
// answers come in any order.
func (t *Trial) early(now time.Time, refusals uint64) bool {
	return refusals != t.refused.times && now.Sub(t.refused.at) < inTransit
}

// Accused notes that the peer refused the account over a downstream. It reports
// whether the account is at fault, as far as is known. If an answer has vouched for the
// account since the peer last refused it, the message is. If the peer refused it over this
// message before, only the answers since then count. When the account is at fault, it may
// have been so before, too: then no message has been at fault so far.
func (t *Trial) Accused(now time.Time, a *Accusation) (account bool) {
	before := t.refused.vouches
	if a.Times > 0 {
		before = a.vouches
	}
	if account = t.vouches == before; account {
		t.faults++
	}
	if a.faults != t.faults {
		a.Blamed = 0
	}
	if !account {
		a.Blamed++
	}
	a.Times++
	a.vouches, a.faults = t.vouches, t.faults
	t.refused = refusal{times: t.refused.times + 1, at: now, vouches: t.vouches}
	return account
}

// Halt stops the sender until then. It reports whether the sender was not halted before.
func (t *Trial) Halt(now, until time.Time) bool {
	t.Tick(now)
	if t.state == Halted {
		return false
	}
	t.enter(Halted, until)
	return true
}

// Lift ends a halt: a person says that the account is in order. It reports whether
// there was a halt.
func (t *Trial) Lift() bool {
	if t.state != Halted {
		return false
	}
	t.enter(ProbeDue, time.Time{})
	return true
}

// Acked notes that the peer took a downstream, and so the account. The downstream went
// out after so many refusals. Acked reports whether the account was refused until then.
// An ack that may have been given before the refusal ends no halt, but the next probe is soon.
func (t *Trial) Acked(now time.Time, refusals uint64) bool {
	t.answers++
	if t.early(now, refusals) {
		if soon := t.refused.at.Add(inTransit); t.state == Halted && soon.Before(t.until) {
			t.until = soon
		}
		return false
	}
	t.vouches++
	switch t.state {
	case Halted, ProbeDue:
		t.enter(Owed, time.Time{})
	case ProbeSent: // in flight with nothing beside it, as a suspect would be
		t.enter(Alone, t.begun.Add(patience))
	default:
		return false
	}
	return true
}

// Tick ends a state whose time is over.
func (t *Trial) Tick(now time.Time) {
	if t.until.IsZero() || t.until.After(now) {
		return
	}
	switch t.state {
	case Waiting, Alone:
		t.end(now)
	case Pause:
		t.enter(Idle, time.Time{})
	case Halted:
		t.enter(ProbeDue, time.Time{})
	}
}

// end ends a trial. If no connection became empty in it, the next one waits longer:
// perhaps answers are slow.
func (t *Trial) end(now time.Time) {
	t.took, t.limit = now.Sub(t.begun), 0
	if t.state == Waiting {
		t.limit = 2 * t.took
	}
	t.enter(Owed, time.Time{})
}

func (t *Trial) enter(s TrialState, until time.Time) { t.state, t.until = s, until }
