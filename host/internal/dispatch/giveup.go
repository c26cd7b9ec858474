package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/status"
	"balhost/sdk/wire"
)

// Stuck is a handler that goes on after its time is up, or gives no sign of life.
type Stuck struct {
	Plugin string
	status.StuckHandler
}

// Stuck returns all handlers that are stuck now, the oldest first.
func (d *Dispatcher) Stuck(ctx context.Context) (all []Stuck, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error {
		now := time.Now()
		for name, p := range d.plugins {
			for in := range p.instances {
				for _, h := range in.stucks(now) {
					all = append(all, Stuck{name, h})
				}
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Stuck) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Event, b.Event))
	})
	return all, err
}

// stucks names the handlers that are stuck now.
func (in *Instance) stucks(now time.Time) (all []status.StuckHandler) {
	for _, out := range in.out {
		if !in.isStuck(out, now) && out.givenUp.IsZero() {
			continue
		}
		head := out.lane.head()
		all = append(all, status.StuckHandler{
			Event: out.about.id, Kind: head.Kind.String(), Device: out.about.device, Category: head.Category,
			Started: out.started, Behind: out.lane.events.len() - 1 + out.lane.away, GivenUp: out.givenUp,
		})
	}
	return all
}

// GiveUp ends the wait for a stuck handler, because a person says so. Its event, which has
// this id, becomes a dead letter (verdict entry.Dead), or goes to the end of its lane
// (entry.Again). GiveUp returns when that is on disk, and then the lane goes on. The
// handler may still run: what it does from now on by its Tx never counts, but what it does
// to others does. It keeps its place in the process's credit, and counts as hung, until
// it returns. The error is entry.ErrUnknown if no handler has the event, and
// entry.ErrNotStuck if one has it and is in its time.
func (d *Dispatcher) GiveUp(ctx context.Context, event string, verdict entry.Verdict) error {
	answer := make(chan error, 1)
	d.box.put(func(d *Dispatcher) {
		if err := d.giveUp(event, verdict, answer); err != nil {
			answer <- err
		}
	})
	return d.await(ctx, answer)
}

func (d *Dispatcher) giveUp(event string, verdict entry.Verdict, told chan error) error {
	in, out := d.holder(event)
	if out == nil {
		return entry.NoSuch("no handler runs for event %.64q: it has ended, or waits; see: balhost stuck", event)
	}
	now := time.Now()
	took := now.Sub(out.started).Round(time.Second)
	if !in.isStuck(out, now) {
		return fmt.Errorf("event %s was given to plugin %s %s ago and its handler may take %s: %w", event, in.Name, took, in.HandlerTimeout, entry.ErrNotStuck)
	}
	if !out.revoked {
		out.revoked = true
		in.process.Send(&wire.HostFrame{Revoke: []uint64{out.number}})
	}
	in.of.turns.End(out.run)
	l := out.lane
	out.run, out.givenUp = nil, now
	out.lane = &lane{key: l.key} // of its own: it names the event until the handler returns
	out.lane.events.push(*l.head())
	d.log.Warn("a person gave up a stuck handler, and its lane goes on", append(d.letter(l.head().Seq),
		"plugin", in.Name, "lane", d.laneName(in.of, l), "seq", l.head().Seq, "took", took)...)
	d.commit(in, &ending{lane: l, about: out.about, took: now.Sub(out.started), told: told, trace: out.trace, Settlement: entry.Settlement{
		Seq: l.head().Seq, Lease: out.number, Verdict: verdict, Plugin: in.Name,
		Reason: fmt.Sprintf("a person gave its handler up, which had run for %s", took),
	}})
	return nil
}

// holder finds the handler that has an event, and nobody has given up.
func (d *Dispatcher) holder(event string) (*Instance, *delivery) {
	for _, p := range d.plugins {
		for in := range p.instances {
			for _, out := range in.out {
				if out.about.id == event && out.givenUp.IsZero() {
					return in, out
				}
			}
		}
	}
	return nil, nil
}

// answer tells who waits for the end what came of it.
func (e *ending) answer(err error) {
	if e.told != nil {
		e.told <- err
		e.told = nil
	}
}

// tooLate reports whether a handler that has returned was given up. What it says is
// dropped: its event has gone on without it.
func (d *Dispatcher) tooLate(in *Instance, out *delivery) bool {
	if out.givenUp.IsZero() {
		return false
	}
	d.log.Info("a handler that was given up has returned; its result does not count",
		"plugin", in.Name, "seq", out.lane.head().Seq, "took", time.Since(out.started).Round(time.Second))
	return true
}
