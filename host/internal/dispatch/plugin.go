package dispatch

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/route"
	"balhost/host/internal/turns"
	"balhost/sdk/wire"

	"github.com/prometheus/client_golang/prometheus"
)

// plugin is what dispatch knows of one plugin: its lanes, which outlive its
// processes, and the processes of today.
type plugin struct {
	name      string
	claim     route.Claim
	claims    bool // claim counts
	instances map[*Instance]*instance
	serving   *instance // takes events; nil: none
	next      *instance // ready, but with another order: takes over when nothing is out or being committed
	trier     *instance // takes suspects, one at a time; nil: none
	triedAt   time.Time // when a trier was last asked for
	paused    bool
	unread    error // why nobody can say whether it is paused, so that it is; nil: that is known

	order        route.Order       // that the lanes were made by
	laned        bool              // before the first Ready there are no lanes
	behind       bool              // not all of its events are in lanes, but for what lanes left out:
	from         uint64            // those with a greater seq are not
	loaded       int               // events in lanes
	hungry       map[*lane]bool    // lanes that left something out, and are running down
	lanes        map[laneKey]*lane // shared ones with events
	ready        [4]fifo[*lane]    // by the kind of their heads, in the order they became ready
	due          dueHeap           // lanes whose heads wait for a time
	trials       fifo[*lane]       // lanes whose heads are suspects
	losers       fifo[*lane]       // lanes whose heads have lost by a conflict, in that order
	turn         int               // in kinds, where pick begins
	crashes      map[uint64]int    // by seq: deaths of a process while it held this event
	content      string            // that served last; "": none has
	suspectAfter int               // deaths that make an event a suspect; 0: never

	handled, retried, died uint64
	rate                   float64   // handled a second, lately
	rated                  time.Time // when that was reckoned last
	ratedAt                uint64    // handled then
	failure                string    // why an event was not handled last; "" for never
	failedAt               time.Time // and when
	saidAt                 time.Time // when that was logged last
	unsaid                 int       // failures since
	hungAt                 time.Time // when a stuck handler was logged last
	hungUnsaid             int       // stuck handlers since
	measured               bool      // it has series: from its first process on, until its file is removed
	waits, handlings       prometheus.Observer
	stucks                 prometheus.Gauge

	turns    *turns.Table          // at its state
	enlisted map[*lane]*turns.Turn // losers that have asked for their keys; each has its place in the serving process's credit
	waiters  []*wait               // for turns, with their times
	reruns   uint64                // of handlers and updates, because of conflicts
	contest  contest
}

// instance is one process of a plugin and what it holds.
type instance struct {
	*Instance
	of         *plugin
	credit     int // MaxInFlight, or less if it asks for less
	out        map[uint64]*delivery
	outBytes   int             // of the bodies out
	outOther   int             // outcomes and receipts out
	committing int             // its results on their way to disk
	stuck      int             // handlers past their time, counted by watch
	ended      int             // of these, those whose lanes are ended
	trial      *delivery       // a suspect, handed out alone
	finished   bool            // it said drained, or has exited
	dead       bool            // it has exited; it stays until its results are committed
	draining   bool            // Drain was called: what it takes along to its death is not to blame
	drains     []chan struct{} // Drain waits
	done       Results
	outside    []*outside // updates that have lost, and run again with their keys
	held       int64      // bytes of updates that wait for a turn
}

// delivery is one handing out of one event.
type delivery struct {
	number   uint64 // also the lease
	lane     *lane
	bytes    int
	started  time.Time
	extended time.Time
	revoked  bool
	told     bool       // that it is stuck
	id       string     // the event's, for people
	device   string     // its token; "" where there is none
	run      *turns.Run // what it holds of the plugin's state; nil: nothing
}

// plugin finds or makes the entry for name.
func (d *Dispatcher) plugin(name string) *plugin {
	p := d.plugins[name]
	if p == nil {
		p = &plugin{
			name: name, instances: map[*Instance]*instance{}, lanes: map[laneKey]*lane{}, crashes: map[uint64]int{},
			turns: turns.New(d.watchlist(name).set), enlisted: map[*lane]*turns.Turn{}, hungry: map[*lane]bool{},
		}
		d.readPause(p)
		d.plugins[name] = p
	}
	return p
}

// instance finds a process that is described and has not exited; nil for others.
func (d *Dispatcher) instance(r *Instance) *instance {
	if p := d.plugins[r.Name]; p != nil {
		if in := p.instances[r]; in != nil && !in.dead {
			return in
		}
	}
	return nil
}

// described notes a new process. Its claims count from now on, unless another
// one serves: then from the moment it takes over.
func (d *Dispatcher) described(r *Instance) {
	p := d.plugin(r.Name)
	d.metrics.measure(p)
	p.instances[r] = &instance{Instance: r, of: p, credit: r.MaxInFlight, out: map[uint64]*delivery{}}
	if p.serving == nil && !r.Trier {
		d.claim(p, r)
	}
}

func (d *Dispatcher) claim(p *plugin, r *Instance) {
	p.claim, p.claims = r.Claim, true
	d.retable()
}

// takes makes a process the one that events go to (P9): lanes that an older one
// holds go on as it settles them.
func (d *Dispatcher) takes(r *Instance) {
	in := d.instance(r)
	switch {
	case in == nil:
	case r.Trier:
		in.of.trier = in
	default:
		in.of.serving, in.of.next = nil, in
		d.promote(in.of)
	}
}

// promote lets next serve. When it wants other lanes, everything that is out
// must have settled first, since lanes can't move under what they hold.
func (d *Dispatcher) promote(p *plugin) {
	in := p.next
	if in == nil {
		return
	}
	relane := !p.laned || p.order.String() != in.Order.String()
	if relane && p.busy() {
		return
	}
	p.serving, p.next, p.suspectAfter = in, nil, in.SuspectAfter
	if was := p.content; was != in.Content {
		if p.content = in.Content; was != "" {
			d.wake(p)
		}
	}
	d.claim(p, in.Instance)
	if relane {
		p.order, p.laned = in.Order, true
		d.unload(p)
	}
}

// busy reports whether anything is handed out or being committed.
func (p *plugin) busy() bool {
	for _, in := range p.instances {
		if in.busy() {
			return true
		}
	}
	return false
}

func (in *instance) busy() bool { return len(in.out) > 0 || in.committing > 0 }

// exited takes back what a dead process held. An event that was in flight too
// often is a suspect; one that killed its plugin when it was alone is dead.
func (d *Dispatcher) exited(r *Instance, reason string) {
	in := d.instance(r)
	if in == nil {
		return
	}
	p, trial := in.of, in.trial
	for _, role := range []**instance{&p.serving, &p.next, &p.trier} {
		if *role == in {
			*role = nil
		}
	}
	for _, number := range slices.Sorted(maps.Keys(in.out)) { // ready again in the order they were handed out
		out, _ := in.take(number)
		p.turns.End(out.run)
		seq := out.lane.head().Seq
		if !in.draining {
			p.crashes[seq]++
		}
		out.lane.ended = out.lane.ended || in.draining
		if out == trial && !in.draining {
			p.triedAt = time.Time{} // the next suspect need not wait: this one is done with
			d.commit(in, &ending{lane: out.lane, Settlement: entry.Settlement{
				Seq: seq, Lease: out.number, Verdict: entry.Dead, Plugin: p.name,
				Reason: fmt.Sprintf("the plugin died %d times while it handled this event, the last time alone: %s", p.crashes[seq], reason),
			}})
			continue
		}
		d.release(p, out.lane)
	}
	in.finished, in.dead = true, true
	in.abandon(func(uint64) bool { return true })
	d.quiet(in)
}

// quiet looks at what waits for an instance to hold nothing, if it does.
func (d *Dispatcher) quiet(in *instance) {
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
		delete(in.of.instances, in.Instance)
	}
	d.promote(in.of)
}

// removed forgets the plugin's claim; its events stay and wait for it.
func (d *Dispatcher) removed(name string) {
	if p := d.plugins[name]; p != nil {
		p.claims = false
		d.metrics.forget(p)
		d.retable()
	}
}

func (d *Dispatcher) drain(r *Instance, timeout time.Duration, empty chan struct{}) {
	in := d.instance(r)
	if in == nil {
		close(empty)
		return
	}
	for _, role := range []**instance{&in.of.serving, &in.of.next, &in.of.trier} {
		if *role == in {
			*role = nil
		}
	}
	in.draining, in.drains = true, append(in.drains, empty)
	in.Process.Send(&wire.HostFrame{Drain: &wire.Drain{Reason: "the host stops this process", TimeoutMs: uint32(timeout.Milliseconds())}})
	d.quiet(in)
}
