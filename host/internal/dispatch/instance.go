package dispatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/wire"

	"golang.org/x/sync/semaphore"
)

// Instance is one process of a plugin and what it holds. pluginhost calls its
// methods from any goroutine; they leave for Run what happened.
type Instance struct {
	instance.Facts
	process instance.Process
	d       *Dispatcher
	waiting *semaphore.Weighted // bytes of changes outside of events, waiting for their commits
	watched *watchlist          // of its plugin's state

	// What follows is owned by Run.
	of         *plugin
	credit     int // MaxInFlight, or less if it asks for less
	out        map[uint64]*delivery
	outBytes   int             // of the bodies out
	outOther   int             // of these, all but the upstreams
	committing int             // its results on their way to disk
	stuck      int             // handlers past their time, counted by watch
	ended      int             // of these, those whose lanes are ended
	trial      *delivery       // a suspect, handed out alone
	finished   bool            // it said drained, or has exited
	dead       bool            // it has exited; it stays until its results are committed
	draining   bool            // Drain was called: what it takes along to its death is not to blame
	drains     []chan struct{} // Drain waits
	done       entry.Results
	outside    []*outside // updates that have lost, and run again with their keys
	held       int64      // bytes of updates that wait for a turn
}

// Described says that a process has told its claims, which count from now on,
// and may call. It gets no events before Ready.
func (d *Dispatcher) Described(facts instance.Facts, process instance.Process) instance.Dispatch {
	in := &Instance{
		Facts: facts, process: process, d: d,
		waiting: semaphore.NewWeighted(maxWaiting), watched: d.watchlist(facts.Name),
		credit: facts.MaxInFlight, out: map[uint64]*delivery{},
	}
	d.box.put(func(d *Dispatcher) { d.described(in) })
	return in
}

// described notes a new process. Its claims count at once, unless another
// process serves: then from the moment it takes over.
func (d *Dispatcher) described(in *Instance) {
	p := d.plugin(in.Name)
	d.metrics.measure(p)
	in.of, p.instances[in] = p, true
	if p.serving == nil && !in.Trier {
		d.claim(in)
	}
}

func (d *Dispatcher) claim(in *Instance) {
	in.of.claim, in.of.claims = in.Claim, true
	d.retable()
}

// Ready gives the process events from now on, in place of the one of its plugin
// that got them before (P9). That one keeps what it holds, and its lanes wait for
// it; it is drained next.
func (in *Instance) Ready() {
	in.d.box.put(func(d *Dispatcher) { d.serves(in) })
}

// serves makes a process the one that events go to.
func (d *Dispatcher) serves(in *Instance) {
	switch {
	case in.dead:
	case in.Trier:
		in.of.trier = in
	default:
		in.of.serving, in.of.next = nil, in
		d.promote(in.of)
	}
}

// Results tells what came of the process's events so far. It fails when ctx
// ends, Run has ended, or the process is gone.
func (in *Instance) Results(ctx context.Context) (results entry.Results, err error) {
	err = in.d.ask(ctx, func(*Dispatcher) error {
		if in.dead {
			return entry.ErrUnknown
		}
		results = in.done
		results.Holds, results.Stuck, results.Ended = len(in.out), in.stuck, in.ended
		for _, out := range in.out {
			if results.Oldest.IsZero() || out.started.Before(results.Oldest) {
				results.Oldest = out.started
			}
		}
		return nil
	})
	return results, err
}

// Drain gives the process no more events and tells it to finish. It returns nil
// when the process holds none, all its results are committed and it has said
// drained, or when its session has ended; else ctx's error.
func (in *Instance) Drain(ctx context.Context) error {
	var timeout time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	empty := make(chan struct{})
	in.d.box.put(func(d *Dispatcher) { d.drain(in, timeout, empty) })
	select {
	case <-empty:
		return nil
	case <-in.Closed:
		return nil
	case <-in.d.box.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Dispatcher) drain(in *Instance, timeout time.Duration, empty chan struct{}) {
	if in.dead {
		close(empty)
		return
	}
	in.retire()
	in.draining, in.drains = true, append(in.drains, empty)
	in.process.Send(&wire.HostFrame{Drain: &wire.Drain{Reason: "the host stops this process", TimeoutMs: uint32(timeout.Milliseconds())}})
	d.quiet(in)
}

// retire takes the process out of whatever role it has.
func (in *Instance) retire() {
	for _, role := range []**Instance{&in.of.serving, &in.of.next, &in.of.trier} {
		if *role == in {
			*role = nil
		}
	}
}

// Gone says that the process has exited and was awaited, and that no frame of it
// comes any more: what it held may be given out again (P5). The reason is kept as
// the death of an event that kills its plugin each time.
func (in *Instance) Gone(reason string) {
	in.d.box.put(func(d *Dispatcher) { d.exited(in, reason) })
}

// exited takes back what a dead process held. An event that was in flight too
// often is a suspect; one that killed its plugin when it was alone is dead.
func (d *Dispatcher) exited(in *Instance, reason string) {
	if in.dead {
		return
	}
	p, trial := in.of, in.trial
	in.retire()
	for _, number := range slices.Sorted(maps.Keys(in.out)) { // ready again in the order they were handed out
		out, _ := in.remove(number)
		p.turns.End(out.run)
		if !out.givenUp.IsZero() {
			continue // its event is none of this process any more
		}
		seq := out.lane.head().Seq
		if !in.draining {
			p.crashes[seq]++
		}
		out.lane.ended = out.lane.ended || in.draining
		if out == trial && !in.draining {
			p.triedAt = time.Time{} // the next suspect need not wait: this one is done with
			d.commit(in, &ending{lane: out.lane, about: out.about, took: time.Since(out.started), trace: out.trace, Settlement: entry.Settlement{
				Seq: seq, Lease: out.number, Verdict: entry.Dead, Plugin: p.name, Attempt: in.attempt(out, time.Since(out.started)),
				Reason: fmt.Sprintf("the plugin died %d times while it handled this event, the last time alone: %s", p.crashes[seq], reason),
			}})
			continue
		}
		d.tellReturned(in, out, reason)
		d.release(p, out.lane)
	}
	in.finished, in.dead = true, true
	in.abandon(func(uint64) bool { return true })
	d.quiet(in)
}

// quiet looks at what waits for an instance to hold nothing, if it does.
func (d *Dispatcher) quiet(in *Instance) {
	if in.busy() {
		return
	}
	if in.finished {
		for _, empty := range in.drains {
			close(empty)
		}
		in.drains = nil
	}
	if in.dead {
		delete(in.of.instances, in)
	}
	d.promote(in.of)
}
