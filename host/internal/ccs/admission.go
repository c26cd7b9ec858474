package ccs

import "time"

// admission decides when each slot of a session may try to log in. It starts
// nothing and reads no clock: it is told the time, and how each try went.
//
// A try that fails is the session's matter, not the slot's: a thousand slots with
// a wrong key, or without a network, try no more often than one. So what a slot may
// do follows from its access:
//
//	access   it means                         an established slot    a new slot
//	granted  CCS lets new connections in      beside others          beside others, after the wait
//	limited  it may take replacements only    beside others          alone, after the wait
//	failing  nothing was connected when the   alone, after the wait  alone, after the wait
//	         last try failed
//
// The wait is the session's, since the last try that failed; each slot has its own
// wait besides. While nothing is connected every slot tries alone. A slot is
// established when CCS let its last connection in: CCS may refuse a new connection
// over its limit, and still take the replacement of one that drains.
type admission struct {
	o        *Options
	slots    []slot
	access   access
	up       int           // connections that CCS has let in and that live
	alone    *slot         // the one that tries alone; nil: none
	retryAt  time.Time     // the end of the session's wait
	patience patience      // of the session
	contest  contest       // with another client of the sender
	changed  chan struct{} // closed and replaced when whoever waits shall ask again
}

// access is what the answers so far say of the next try. They are listed above.
type access string

const (
	granted access = "granted"
	limited access = "limited"
	failing access = "failing"
)

// slot is one of a session's Options.Connections.
type slot struct {
	established bool
	patience    patience
	due         time.Time // the end of its own wait
}

// permit is what a slot may do now.
type permit string

const (
	waits  permit = "waits"  // until opens, and until changed where that has passed
	alone  permit = "alone"  // it may try, and no other slot meanwhile
	beside permit = "beside" // it may try, whatever the others do
)

// ending is how a slot's connection ended, and so what its next one waits for.
type ending string

const (
	drained   ending = "drained"   // CCS or we end it in good order: nothing, or a few seconds where that repeats
	blamed    ending = "blamed"    // a downstream that was in flight ended it, and it was of use: the first step of the backoff
	lost      ending = "lost"      // it was let in, and broke: the backoff
	pushed    ending = "pushed"    // another client of the sender logged in: the same, or the contest's wait
	unreached ending = "unreached" // it was not let in, which may pass: the session's backoff
	denied    ending = "denied"    // a person has to act first: the session's long backoff
)

func newAdmission(o *Options) *admission {
	a := &admission{
		o: o, slots: make([]slot, o.Connections), access: granted,
		patience: newPatience(o), contest: newContest(o), changed: make(chan struct{}),
	}
	for i := range a.slots {
		a.slots[i].patience = newPatience(o)
	}
	return a
}

// opens is when sl may try at the earliest.
func (a *admission) opens(sl *slot) time.Time {
	if (!sl.established || a.access == failing) && a.retryAt.After(sl.due) {
		return a.retryAt
	}
	return sl.due
}

// ask says what sl may do now. One that may try alone keeps that until it is let
// in, has ended or asks again.
func (a *admission) ask(sl *slot, now time.Time) permit {
	switch {
	case now.Before(a.opens(sl)):
		a.release(sl)
		return waits
	case a.up > 0 && (sl.established || a.access == granted):
		a.release(sl)
		return beside
	case a.alone != nil && a.alone != sl:
		return waits
	}
	a.alone = sl
	return alone
}

// release lets another slot try alone, if sl was the one.
func (a *admission) release(sl *slot) {
	if a.alone == sl {
		a.alone = nil
		a.wake()
	}
}

// letIn notes that CCS has let the slot's connection in.
func (a *admission) letIn(sl *slot) {
	a.up++
	if !sl.established {
		a.access = granted
	} else if a.access == failing {
		a.access = limited
	}
	a.release(sl)
	a.wake()
}

// ended notes how the slot's connection ended, or that it drains; it was let in
// for lasted. It reports whether a contest has begun by it.
func (a *admission) ended(sl *slot, how ending, lasted time.Duration, now time.Time) (contested bool) {
	var wait time.Duration
	p := &sl.patience
	sl.established = true
	switch how {
	case drained:
		wait = p.drained(lasted)
	case blamed:
		wait = p.blamed(lasted)
	case lost:
		wait = p.lost(lasted)
	case pushed:
		wait, contested = a.contest.pushed(lasted, now)
		wait = max(wait, p.lost(lasted))
	case unreached:
		sl.established = false
		a.failed(a.patience.lost, now)
	case denied:
		sl.established = false
		a.failed(a.patience.denied, now)
	}
	sl.due = now.Add(wait)
	a.release(sl)
	return contested
}

// failed notes that CCS let a connection not in, or threw it out for good.
func (a *admission) failed(wait func(calm time.Duration) time.Duration, now time.Time) {
	if a.access = limited; a.up == 0 {
		a.access = failing
	}
	if !now.Before(a.retryAt) { // else it tried beside the one that counted
		a.retryAt = now.Add(wait(now.Sub(a.retryAt)))
	}
}

// gone notes that a connection has ended; was is its last state. When it drained
// CCS has a free place now: it may have refused the replacement for lack of one.
func (a *admission) gone(was State, now time.Time) {
	if was == Ready || was == Draining {
		a.up--
	}
	if soon := now.Add(a.o.Backoff.Min); was == Draining && soon.Before(a.retryAt) {
		a.retryAt = soon
	}
	a.wake()
}

// hurry ends all waits: a person says that what was wrong is mended. It reports
// whether there were any.
func (a *admission) hurry(now time.Time) (waited bool) {
	if a.retryAt.After(now) {
		a.retryAt, waited = now, true
	}
	for i := range a.slots {
		if sl := &a.slots[i]; sl.due.After(now) {
			sl.due, waited = now, true
		}
	}
	a.contest.over()
	a.wake()
	return waited
}

func (a *admission) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}
