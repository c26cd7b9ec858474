package ccs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/flow"
	"balhost/host/internal/status"
)

// State is where a connection stands.
type State = status.State

// The states, in the order of a connection's life.
const (
	Waiting  State = "waiting" // until its slot may try, for its turn to connect, or for a place among the most there may be
	Dialing  State = "dialing" // and TLS
	Opening  State = "opening" // login and bind
	Ready    State = "ready"
	Draining State = "draining" // takes no more downstreams
)

// conn is one connection with CCS, from the wait before it is dialled to its end. The
// slot's next connection is another conn.
type conn struct {
	s        *Session
	number   int
	slot     *slot
	box      *box
	line     entry.Line    // the ledger's
	made     *stream       // what Session.Open has made; nil: run connects
	leaving  chan struct{} // closed when it takes no more downstreams, at the latest at its end
	left     sync.Once
	inFlight atomic.Int64
	born     time.Time
	heard    atomic.Int64 // when the last whole stanza was, in ns since born: a clock that is set is no silence
	holes    atomic.Int64 // upstreams that can't be acked: each holds a slot of CCS's window

	// What follows is serve's, until that has ended.
	ours   bool   // it ends for a reason of ours
	vague  string // the last refusal that may be of several in flight
	useful bool   // a downstream was answered on it, or an upstream acked

	// The session's mu guards what follows.
	state State
	addr  string // where it goes; "" before
	since time.Time
	ready time.Time // since when it served; zero if it never did
	err   error     // why it ended; nil while it lives and after an end that was asked for
}

// errStore: the ledger takes nothing any more, so the session ends.
type errStore struct{ error }

func (e errStore) Unwrap() error { return e.error }

// errDownstream: a downstream that was in flight is blamed for the connection's end,
// not CCS or the link.
type errDownstream struct {
	error
	useful bool // all was well before
}

func (e errDownstream) Unwrap() error { return e.error }

// run is the connection's whole life from Dialing on. It fails only when the ledger
// is over.
func (c *conn) run(ctx context.Context) (err error) {
	defer func() { err = c.end(ctx, err) }()
	st := c.made
	if st == nil {
		if st, err = c.connect(ctx); err != nil { // Dialing, Opening
			return err
		}
	}
	c.enter(Ready)
	win := flow.NewWindow(c.s.o.Window)
	var reading sync.WaitGroup
	reading.Go(func() { c.read(st) })
	err = c.serve(ctx, st.w, win) // Ready, Draining
	c.box.shutdown()
	st.Close() // ends read too
	reading.Wait()
	return c.giveBack(win, err)
}

// giveBack returns to the outbox what CCS has not answered. Only now, after the
// connection is closed, can it go out on another one (P3). It says what to make of
// err then.
func (c *conn) giveBack(win *flow.Window, err error) error {
	if err != nil && !errors.As(err, new(errStore)) {
		err = fmt.Errorf("%s: %w", c.where(), err)
	}
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
	end.Code = lossCode(end.Fault)
	if c.vague != "" {
		end.Vague, end.Why = true, end.Why+"; before, CCS refused one without saying which: "+c.vague
	}
	blamed := o.Outbox.Return(o.SenderID, unanswered, end)
	if err == nil || !blamed {
		return err
	}
	return errDownstream{err, c.useful}
}

// enter notes the state.
func (c *conn) enter(state State) {
	s := c.s
	s.mu.Lock()
	c.state, c.since = state, time.Now()
	if state == Ready {
		c.ready = c.since
		s.admission.letIn(c.slot)
	}
	s.mu.Unlock()
	if state == Ready {
		s.news(nil)
		s.o.Log.Info("connected", "conn", c.number, "addr", c.where())
		s.tell(feed.Step{What: feed.Connected, Address: c.where()})
	}
}

// leave takes no more downstreams on this connection, so that its slot makes another.
func (c *conn) leave(why string) {
	c.left.Do(func() {
		c.enter(Draining)
		c.s.o.Log.Info("draining", "conn", c.number, "err", why)
		c.s.tell(feed.Step{What: feed.Draining, Address: c.where(), Error: why})
		close(c.leaving)
	})
}

// end notes and logs, once, how the connection has ended. It returns an error that
// ends the session too.
func (c *conn) end(ctx context.Context, err error) error {
	defer c.left.Do(func() { close(c.leaving) })
	ledgerOver := errors.As(err, new(errStore))
	if ctx.Err() != nil && !ledgerOver {
		err = nil // we were leaving: whatever broke then is of no interest
	}
	if err != nil && fault(err) == flow.Link && !errors.As(err, new(errDownstream)) {
		c.deadEnd()
	}
	c.s.forget(c, err)
	log := c.s.o.Log
	if err != nil {
		c.s.tell(feed.Step{What: feed.Lost, Error: err.Error()})
	}
	switch {
	case err == nil:
		log.Info("closed", "conn", c.number)
	case ledgerOver:
		log.Error("the ledger takes nothing any more: session stops", "conn", c.number, "err", err)
		return err
	case denies(err) && c.s.news(err):
		log.Error("CCS does not let us in; the wait before each next try grows", "conn", c.number, "err", err)
	case denies(err):
		log.Debug("CCS still does not let us in", "conn", c.number, "err", err)
	default:
		c.s.said.Log(log.Warn, "connection lost", "conn", c.number, "err", err)
	}
	return nil
}

// deadEnd notes that a connection to this address broke: others are tried first
// next time. One that was not let in is noted by connect.
func (c *conn) deadEnd() {
	c.s.mu.Lock()
	addr, served := c.addr, !c.ready.IsZero()
	c.s.mu.Unlock()
	if served {
		c.s.addresses.note(addr, true)
	}
}

// ending is how it has ended, for its slot. The caller holds the session's mu.
func (c *conn) ending() ending {
	var downstream errDownstream
	switch {
	case c.state == Draining: // whether it has ended since or not
		return drained
	case errors.As(c.err, &downstream) && downstream.useful:
		return blamed
	case denies(c.err):
		return denied
	case c.ready.IsZero():
		return unreached
	case fault(c.err) == flow.Rival:
		return pushed
	}
	return lost
}
