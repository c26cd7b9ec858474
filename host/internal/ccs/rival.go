package ccs

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"balhost/host/internal/flow"
	"balhost/host/internal/xmpp"
)

// Contest tells of another client that logs in as the session's sender, where CCS
// keeps one of the two: each pushes the other's connections off.
// Spec: RFC 6120 §4.9.3.3 conflict.
type Contest struct {
	Times int       // in a row that connections of ours were pushed off; once says nothing
	At    time.Time // the last time
	Until time.Time // when it is over, unless it happens again
	Slots int       // of the session: where the server keeps one connection they may be each other's rivals
}

// Lasts reports whether the two push each other off.
func (c Contest) Lasts(now time.Time) bool { return c.Times > 1 && now.Before(c.Until) }

// String says what happens, and what to do.
func (c Contest) String() string {
	s := fmt.Sprintf("another client logs in as its sender, and the two push each other's connections off (%d times in a row): stop the other one, or give it a sender of its own, then run balhost reload", c.Times)
	if c.Slots > 1 {
		s += fmt.Sprintf("; or the server takes fewer connections of a sender than connections = %d", c.Slots)
	}
	return s
}

// contest keeps a Contest, and says how long to wait in it.
type contest struct {
	mu       sync.Mutex // guards what follows
	now      Contest
	wait     time.Duration // after the last push
	patience patience
}

// pushed notes that a connection has ended by err after it served for lasted, if
// that is a rival's doing. It says how long to wait because of that, and whether the contest has
// begun by it. What ends together counts once.
func (c *contest) pushed(err error, lasted time.Duration) (wait time.Duration, began bool) {
	if fault(err) != flow.Rival {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now, o := time.Now(), c.patience.o
	longest := max(o.Backoff.Max, o.Refused)
	if now.Sub(c.now.At) > c.wait+2*longest {
		c.now.Times, c.wait = 0, 0
		c.patience.refusals = 0
	}
	if lasted >= now.Sub(c.now.At) { // it was there at the last push already
		return c.wait, false
	}
	c.now.Times++
	if c.now.At = now; c.now.Times > 1 {
		c.wait = c.patience.refused(0)
		// The rival waited about as long as we lasted, and waits longer next time.
		c.now.Until = now.Add(c.wait + min(2*longest, o.Stable+2*max(c.wait, lasted)))
	}
	return c.wait, c.now.Times == 2
}

// over forgets it: a person says that it is mended.
func (c *contest) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.wait, c.patience.refusals = Contest{Slots: c.now.Slots}, 0, 0
}

func (c *contest) status() Contest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// rivalled is how long a slot waits because a rival has pushed its connection off.
func (s *Session) rivalled(c *conn, err error, lasted time.Duration) time.Duration {
	wait, began := s.contest.pushed(err, lasted)
	if began {
		var said *xmpp.StreamError
		errors.As(err, &said)
		s.o.Log.Error("another client logs in as this sender, and the two push each other off; connected ever less often while it goes on", "conn", c.number, "took", lasted, "err", said)
	}
	return wait
}
