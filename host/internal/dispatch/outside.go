package dispatch

import (
	"errors"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/turns"
	"balhost/sdk/wire"
)

// outside is one run of an update of the state outside of events.
type outside struct {
	call    uint64
	number  uint64 // the same in all runs of the update; 0: it has none
	changes entry.Changes
	writes  []string // what it changes, in the words of the turns
	weight  int64
	held    bool // it waits for a turn: its weight counts in held of the instance, and no longer in waiting
	answer  func(*wire.Reply)

	run  *turns.Run // has the keys that it used before; nil before it has lost
	loss loss
	over bool // it has no keys any more: they are given back, or its next run has them
}

// updateInTurn commits an update after those who have its keys, unless it waits too long.
func (d *Dispatcher) updateInTurn(in *Instance, u *outside) {
	if in.dead {
		in.waiting.Release(u.weight)
		return
	}
	p := in.of
	if was := in.ranBefore(u); was != nil {
		u.run, u.loss, was.over = was.run, was.loss, true
	}
	if u.changes.Empty() { // the plugin gives up the update
		p.turns.End(u.run)
		in.waiting.Release(u.weight)
		u.answer(wire.NewReply(u.call, nil))
		return
	}
	u.writes = p.listed.writes(u.changes)
	turn := p.turns.Commit(u.run, u.writes, func() { d.storeUpdate(in, u) })
	goOn := func() { p.turns.Land(u.writes); d.storeUpdate(in, u) }
	switch {
	case turn == nil:
		d.storeUpdate(in, u)
	case in.held+u.weight > maxWaiting: // too much waits: it goes on without its turn
		p.turns.Cancel(turn)
		goOn()
	default:
		// While it waits for a turn, the process must be read: its next frame may
		// hold the result that ends that turn.
		u.held = true
		in.held += u.weight
		in.waiting.Release(u.weight)
		p.waitFor(turn, wait{
			until: time.Now().Add(in.HandlerTimeout), goOn: goOn, in: in, call: u.call,
			drop: func() { in.held -= u.weight; p.turns.End(u.run) },
		})
	}
}

// ranBefore returns the run of u before this one if its keys are kept, else nil.
func (in *Instance) ranBefore(u *outside) *outside {
	i := slices.IndexFunc(in.outside, func(was *outside) bool {
		if u.number != 0 || was.number != 0 {
			return was.number == u.number
		}
		for key := range modes(entry.Changes{Reads: u.changes.Reads, Ranges: u.changes.Ranges}) {
			if was.loss.keys[key] != 0 {
				return true
			}
		}
		return false
	})
	if i < 0 {
		return nil
	}
	was := in.outside[i]
	in.outside = slices.Delete(in.outside, i, i+1)
	return was
}

func (d *Dispatcher) storeUpdate(in *Instance, u *outside) {
	if u.held {
		in.held -= u.weight
	}
	d.o.Ledger.Update(in.Name, u.changes, func(err error) {
		if !u.held {
			in.waiting.Release(u.weight)
		}
		if !errors.Is(err, entry.ErrConflict) {
			u.answer(wire.NewReply(u.call, translate(err)))
		}
		if !d.box.put(func(d *Dispatcher) { d.updated(in, u, err) }) && errors.Is(err, entry.ErrConflict) {
			u.answer(wire.NewReply(u.call, translate(err)))
		}
	})
}

// updated gives back the keys after the commit. An update that has lost first gets the
// keys that it used. Only then it is answered, and the plugin runs it again.
func (d *Dispatcher) updated(in *Instance, u *outside, err error) {
	p := in.of
	p.turns.Landed(u.writes)
	p.turns.End(u.run)
	u.run = nil
	if !errors.Is(err, entry.ErrConflict) {
		if err == nil {
			p.saw(u.changes)
			p.ended(u.changes)
		}
		return
	}
	u.loss.add(u.changes)
	d.rerunUpdate(p, u, d.contended(p, u.changes, err))
	u.changes = entry.Changes{}
	answer := func() { u.answer(wire.NewReply(u.call, wire.ErrConflict)) }
	if in.dead || len(in.outside) >= maxOutside {
		answer()
		return
	}
	patience := in.HandlerTimeout
	if u.number == 0 {
		patience = min(patience, unnumbered)
	}
	run := &turns.Run{}
	turn := u.loss.claim(p.turns, run, func() {
		if in.dead {
			p.turns.End(run)
			return
		}
		u.run = run
		in.outside = append(in.outside, u)
		p.waiters = append(p.waiters, &wait{
			until: time.Now().Add(patience), in: in, call: u.call,
			over: func() bool { return u.over },
			goOn: func() { in.forget(u) },
		})
		answer()
	})
	p.waitFor(turn, wait{until: time.Now().Add(in.HandlerTimeout), goOn: answer, in: in, call: u.call})
}

// forget gives back the keys of an update that does not come again.
func (in *Instance) forget(u *outside) {
	u.over = true
	in.outside = slices.DeleteFunc(in.outside, func(other *outside) bool { return other == u })
	in.of.turns.End(u.run)
}

// abandon ends the waits of calls that are gone: nobody waits for their answers any more.
func (in *Instance) abandon(gone func(call uint64) bool) {
	p := in.of
	for _, u := range slices.Clone(in.outside) {
		if gone(u.call) {
			in.forget(u)
		}
	}
	for _, w := range p.waiters {
		if w.in == in && w.drop != nil && !w.over() && gone(w.call) {
			w.drop()
		}
	}
}
