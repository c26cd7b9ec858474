package ccs

import (
	"fmt"
	"time"
)

// Contest is what is known of another client that logs in as the session's sender. If
// CCS keeps only one of the two, each pushes the other's connections off.
// Spec: RFC 6120 §4.9.3.3 conflict.
type Contest struct {
	Times int       // how often in a row connections of ours were pushed off; once means nothing
	At    time.Time // the last time
	Until time.Time // when it is over, unless it happens again
	Slots int       // of the session: if the server keeps one connection, they push each other off
}

// Lasts reports whether the two still push each other off.
func (c Contest) Lasts(now time.Time) bool { return c.Times > 1 && now.Before(c.Until) }

// String says what happens, and what to do.
func (c Contest) String() string {
	s := fmt.Sprintf("another client logs in as its sender, and the two push each other's connections off (%d times in a row): stop the other one, or give it a sender of its own, then run balhost reload", c.Times)
	if c.Slots > 1 {
		s += fmt.Sprintf("; or the server takes fewer connections of a sender than connections = %d", c.Slots)
	}
	return s
}

// contest counts the pushes, and says how long to wait after each.
type contest struct {
	now      Contest
	wait     time.Duration // after the last push
	patience patience
}

func newContest(o *Options) contest {
	return contest{now: Contest{Slots: o.Connections}, patience: newPatience(o)}
}

// pushed notes that another client has pushed off a connection that served for
// lasted. It says how long to wait because of that, and whether the contest has
// begun by it. Connections that end together count once.
func (c *contest) pushed(lasted time.Duration, now time.Time) (wait time.Duration, began bool) {
	o := c.patience.o
	longest := max(o.Backoff.Max, o.Denied)
	if now.Sub(c.now.At) > c.wait+2*longest {
		c.now.Times, c.wait = 0, 0
		c.patience.denials = 0
	}
	if lasted >= now.Sub(c.now.At) { // it was up at the last push already: the same push
		return c.wait, false
	}
	c.now.Times++
	if c.now.At = now; c.now.Times > 1 {
		c.wait = c.patience.denied(0)
		// The rival waited about as long as we lasted, and waits longer next time.
		c.now.Until = now.Add(c.wait + min(2*longest, o.Stable+2*max(c.wait, lasted)))
	}
	return c.wait, c.now.Times == 2
}

// over forgets it: a person says that the other client is gone.
func (c *contest) over() {
	c.now, c.wait, c.patience.denials = Contest{Slots: c.now.Slots}, 0, 0
}
