package dispatch

import (
	"context"
	"time"

	"balhost/host/internal/entry"
)

// Standing is what a pending event waits for.
type Standing struct {
	For     Reason
	Plugin  string        // whose it is; "": nobody's
	Version string        // Handler, Hung: of the plugin that has it
	Device  string        // Paused: the device that is, shortened
	Lane    string        // Paused: the lane that is, shortened; neither: all of the plugin is
	Since   time.Time     // Handler, Hung: when it was handed out. Claim: since nobody claims it. Paused: since it is
	Limit   time.Duration // Handler, Hung: the time that its handler has; 0: no limit
	Until   time.Time     // Due: its next attempt
	Behind  uint64        // Lane: the seq of the lane's head
	Before  int           // Lane: events of its lane that go before it, if they are in memory. Turn: about how many lanes
}

// Reason is why an event waits.
type Reason int

// The reasons. Of several, the one that comes first counts.
const (
	Unknown   Reason = iota // dispatch has not heard of it yet
	Handler                 // a handler has it
	Hung                    // the same, and its time is up
	Committed               // what its handler did is on its way to the disk
	Boot                    // the plugins are being started
	Claim                   // no plugin claims its category
	Paused                  // its plugin is paused, or its device or its lane at the plugin
	NoProcess               // its plugin does not run
	Lane                    // another event of its lane goes first
	Due                     // it waits for its next attempt
	Suspect                 // it may have ended its plugin, and is tried alone
	Keys                    // it has lost by a conflict, and waits for the keys of the state
	Turn                    // others go first
)

// Standing says what a pending event waits for. It fails when ctx ends, or when Run has ended.
func (d *Dispatcher) Standing(ctx context.Context, e entry.Event) (s Standing, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error { s = d.standing(e, time.Now()); return nil })
	return s, err
}

// Owners returns a function that names the plugin to which a category belongs now; "" if
// nobody. It is for any goroutine.
func (d *Dispatcher) Owners(ctx context.Context) (owner func(category string) string, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error { owner = d.table.Owner; return nil })
	return owner, err
}

func (d *Dispatcher) standing(e entry.Event, now time.Time) Standing {
	s := Standing{Plugin: d.owner(&e)}
	for _, p := range d.plugins { // it may be handed out by a plugin that has lost its category meanwhile
		for in := range p.instances {
			if out := in.has(e.Seq); out != nil {
				s.For, s.Plugin, s.Version, s.Since = Handler, p.name, in.Version, out.started
				if !in.Debug {
					s.Limit = in.HandlerTimeout
				}
				if in.isStuck(out, now) {
					s.For = Hung
				}
				return s
			}
		}
	}
	p := d.plugins[s.Plugin]
	switch {
	case d.busy[e.Seq]:
		s.For = Committed
	case !d.booted:
		s.For = Boot
	case s.Plugin == "":
		s.For = Claim
		if pl := d.piles[keyOf(&e)]; pl != nil {
			s.Since = pl.since
		}
	case p == nil:
		s.For = NoProcess
	case p.paused:
		s.For, s.Since = Paused, p.pausedSince
	case p.serving == nil:
		s.For = NoProcess
	default:
		if held, ok := p.held(&e); ok {
			s.For, s.Device, s.Since = Paused, held.Device, held.Since
			return s
		}
		if key, shared := d.laneOf(p, e); shared {
			if held, ok := p.heldLane(key); ok {
				s.For, s.Lane, s.Since = Paused, held.Lane, held.Since
				return s
			}
		}
		d.inLane(p, e, now, &s)
	}
	return s
}

// inLane says what an event of a plugin that runs waits for.
func (d *Dispatcher) inLane(p *plugin, e entry.Event, now time.Time, s *Standing) {
	key, shared := d.laneOf(p, e)
	l := p.lanes[key]
	if shared && l != nil && l.events.len() > 0 && l.head().Seq < e.Seq {
		s.For, s.Behind = Lane, l.head().Seq
		for _, other := range l.events.all() {
			if other.Seq < e.Seq {
				s.Before++
			}
		}
		return
	}
	for _, waits := range []struct {
		of  *fifo[*lane]
		why Reason
	}{{&p.trials, Suspect}, {&p.losers, Keys}} {
		for _, l := range waits.of.all() {
			if l.head().Seq == e.Seq {
				s.For = waits.why
				return
			}
		}
	}
	for _, l := range p.due {
		if l.head().Seq == e.Seq && l.head().Due.After(now) {
			s.For, s.Until = Due, l.head().Due
			return
		}
	}
	if s.For = Turn; e.Due.After(now) {
		s.For, s.Until = Due, e.Due
		return
	}
	for kind := range p.ready {
		s.Before += p.ready[kind].len()
	}
}

// has is the delivery of an event that the process holds; nil: it does not.
func (in *Instance) has(seq uint64) *delivery {
	for _, out := range in.out {
		if out.lane.head().Seq == seq {
			return out
		}
	}
	return nil
}
