package ccs

import (
	"context"
	"sync"
	"time"
)

// door is what a session knows of whether CCS lets it in. Not being let in is
// the session's, not a slot's: a thousand slots with a wrong key, or without a
// network, knock no more often than one. A slot whose last connection had been
// let in is another matter: CCS may refuse what is over its limit and still take
// the replacement of what drains.
type door struct {
	mu        sync.Mutex // guards what follows
	patience  patience
	notBefore time.Time     // no slot knocks before that, but those in good standing
	barred    bool          // and they don't either: nothing stood when it was shut
	doubt     bool          // since it was shut, it opened to no slot that was not in good standing
	sooner    chan struct{} // closed and replaced when notBefore has come nearer
}

func newDoor(o *Options) *door {
	return &door{patience: newPatience(o), sooner: make(chan struct{})}
}

// shut notes that CCS did not let a connection in, or threw it out as one that
// it wants no more of; with err, and alone when no other one stood.
func (d *door) shut(err error, alone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.doubt, d.barred = true, alone
	if now.Before(d.notBefore) {
		return // it knocked beside the one that counted
	}
	wait := d.patience.lost
	if refused(err) {
		wait = d.patience.refused
	}
	d.notBefore = now.Add(wait(now.Sub(d.notBefore)))
}

// opened notes that CCS let a connection in.
func (d *door) opened(standing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.barred, d.doubt = false, d.doubt && standing
}

// free notes that CCS has a place more than when it was shut: it closed a
// connection of ours whose replacement it may have refused.
func (d *door) free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if soon := time.Now().Add(d.patience.o.Backoff.Min); soon.Before(d.notBefore) {
		d.notBefore = soon
		close(d.sooner)
		d.sooner = make(chan struct{})
	}
}

// hurry lets slots knock at once. It reports whether they had to wait.
func (d *door) hurry() (waited bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if !d.notBefore.After(now) {
		return false
	}
	d.notBefore = now
	close(d.sooner)
	d.sooner = make(chan struct{})
	return true
}

// opens is when a slot may knock.
func (d *door) opens(standing bool) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if standing && !d.barred {
		return time.Time{}
	}
	return d.notBefore
}

// await waits until a slot may knock; false when ctx ended before.
func (d *door) await(ctx context.Context, standing bool) bool {
	for {
		wait, sooner := d.wait(standing)
		if wait <= 0 {
			return ctx.Err() == nil
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-sooner:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// wait is how long a slot has still to wait.
func (d *door) wait(standing bool) (wait time.Duration, sooner <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if standing && !d.barred {
		return 0, d.sooner
	}
	return time.Until(d.notBefore), d.sooner
}

// trusted reports whether a slot may knock beside others, while a connection stands.
func (d *door) trusted(standing bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return standing || !d.doubt
}

// knock waits until c may be tried, in the session and in the host. While no
// connection stands, and when CCS has refused one, slots try one at a time: c's
// slot then has s.alone until it knows. False when ctx ended before.
func (s *Session) knock(ctx context.Context, c *conn, standing bool, alone *bool) bool {
	for {
		if !s.door.await(ctx, standing) {
			return false
		}
		if s.Stands() && s.door.trusted(standing) {
			s.alone.pass(alone)
			break
		}
		if *alone {
			break
		}
		if !s.alone.take(ctx, alone) {
			return false
		}
		if wait, _ := s.door.wait(standing); wait > 0 { // who had it before was not let in
			s.alone.pass(alone)
		}
	}
	queued := false
	defer func() { s.queue.pass(&queued) }()
	return s.queue.take(ctx, &queued) && s.place(ctx, c) && s.o.Connects.Wait(ctx) == nil
}

// turn is a right that one slot of a session has at a time.
type turn chan struct{}

// take waits for the turn, unless it is mine already; false when ctx ended before.
func (t turn) take(ctx context.Context, mine *bool) bool {
	if !*mine {
		select {
		case t <- struct{}{}:
			*mine = true
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// pass gives the turn on, if it is mine.
func (t turn) pass(mine *bool) {
	if *mine {
		<-t
		*mine = false
	}
}
