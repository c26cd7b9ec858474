package ccs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/flow"

	"golang.org/x/sync/errgroup"
)

// State is where a connection stands.
type State string

// The states, in the order of a connection's life.
const (
	Waiting  State = "waiting" // for its backoff, its turn to connect, or a place among the most there may be
	Dialing  State = "dialing" // and TLS
	Opening  State = "opening" // login and bind
	Ready    State = "ready"
	Draining State = "draining" // takes no more downstreams
)

// conn is one connection with CCS, from its first thought to its end. It is
// never used again: what comes after it is another one.
type conn struct {
	s        *Session
	number   int
	box      *box
	in       chan struct{} // closed when CCS has let it in
	standing bool          // CCS has let its slot's last one in, and refused none since
	due      time.Time     // it waits until then at least; guarded by the session's mu
	leaving  chan struct{} // closed when it takes no more downstreams, at the latest at its end
	left     sync.Once
	inFlight atomic.Int64
	born     time.Time
	heard    atomic.Int64 // when the last whole stanza was, in ns since born: a clock that is set is no silence
	holes    atomic.Int64 // upstreams that can't be acked: each holds a slot of CCS's window
	ours     bool         // it ends for a reason of ours; as useful
	opened   *opened      // what Session.Open has made; nil: run connects
	vague    string       // the last refusal that may be of several in flight; as useful
	useful   bool         // a downstream was answered on it, or an upstream acked; serve's, until that has ended

	mu    sync.Mutex // guards what follows
	state State
	place string // where it goes; "" before
	since time.Time
	ready time.Time // since when it served; zero if it never did
	err   error     // why it ended; nil while it lives and after an end that was asked for
}

// errStore: the ledger takes nothing any more, and so this session has no use.
type errStore struct{ error }

func (e errStore) Unwrap() error { return e.error }

// errDownstream: the connection's end is put down to a downstream that was in
// flight, not to CCS or the link.
type errDownstream struct {
	error
	useful bool // all was well before
}

func (e errDownstream) Unwrap() error { return e.error }

// run is the connection's whole life from Dialing on. It returns nil for an end that either
// side asked for.
func (c *conn) run(ctx context.Context) (err error) {
	defer func() { c.end(ctx, err) }()
	nc := c.opened
	if nc == nil {
		opening, cancel := context.WithTimeout(ctx, c.s.o.Login)
		defer cancel()
		if nc, err = c.connect(opening); err != nil {
			return err
		}
	}
	defer nc.Close()

	c.enter(Ready)
	win := flow.NewWindow(c.s.o.Window)
	var g errgroup.Group
	g.Go(func() error {
		c.read(nc.st)
		return nil
	})
	g.Go(func() error {
		defer nc.Close() // ends read too
		defer c.box.shutdown()
		return c.serve(ctx, nc.st.w, win)
	})
	if err = g.Wait(); err != nil && !errors.As(err, new(errStore)) {
		err = fmt.Errorf("%s: %w", c.where(), err)
	}
	return c.giveBack(win, err)
}

// giveBack returns what CCS has not answered. Only now, after the connection is
// closed, can it go out on another one (P3). It says what to make of err then.
func (c *conn) giveBack(win *flow.Window, err error) error {
	c.inFlight.Store(0)
	o, unanswered := &c.s.o, win.Unanswered()
	if len(unanswered) == 0 {
		return err
	}
	end := flow.End{Fault: fault(err), Why: "it was asked to end", Useful: c.useful}
	switch {
	case err != nil:
		end.Why = err.Error()
	case c.ours:
		end.Fault = flow.Ours
	}
	if c.vague != "" {
		end.Vague, end.Why = true, end.Why+"; before, CCS refused one without saying which: "+c.vague
	}
	blamed := o.Outbox.Return(o.SenderID, unanswered, end)
	if err == nil || !blamed {
		return err
	}
	return errDownstream{err, c.useful}
}

// at is its state.
func (c *conn) at() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// enter notes the state.
func (c *conn) enter(state State) {
	c.mu.Lock()
	c.state, c.since = state, time.Now()
	if state == Ready {
		c.ready = c.since
	}
	c.mu.Unlock()
	if state == Ready {
		c.s.news(nil)
		close(c.in)
		c.s.o.Log.Info("connected", "conn", c.number, "addr", c.where())
	}
}

// leave stops downstreams on this connection, so that the keeper replaces it.
func (c *conn) leave(why string) {
	c.left.Do(func() {
		c.enter(Draining)
		c.s.o.Log.Info("draining", "conn", c.number, "err", why)
		close(c.leaving)
	})
}

// lasted is for how long it has served; wasIn is false if it never did.
func (c *conn) lasted() (d time.Duration, wasIn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready.IsZero() {
		return 0, false
	}
	return time.Since(c.ready), true
}

// end is the last of a connection: what became of it is said once.
func (c *conn) end(ctx context.Context, err error) {
	if ctx.Err() != nil && !errors.As(err, new(errStore)) {
		err = nil // whatever broke while we were leaving
	}
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	if err != nil && fault(err) == flow.Link && !errors.As(err, new(errDownstream)) {
		c.deadEnd()
	}
	c.s.forget(c, err)
	log := c.s.o.Log
	switch {
	case err == nil:
		log.Info("closed", "conn", c.number)
	case errors.As(err, new(errStore)):
		log.Error("the ledger takes nothing any more: session stops", "conn", c.number, "err", err)
	case refused(err) && c.s.news(err):
		log.Error("CCS does not let us in; tried again ever less often", "conn", c.number, "err", err)
	case refused(err):
		log.Debug("CCS still does not let us in", "conn", c.number, "err", err)
	default:
		c.s.said.log(log.Warn, "connection lost", "conn", c.number, "err", err)
	}
	c.left.Do(func() { close(c.leaving) })
}

// deadEnd notes that the place was of no use: another one is tried first next time.
func (c *conn) deadEnd() {
	c.mu.Lock()
	at, served := c.place, !c.ready.IsZero()
	c.mu.Unlock()
	if served { // else connect has noted it
		c.s.places.note(at, true)
	}
}

// ended is why it has ended; nil while it lives.
func (c *conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
