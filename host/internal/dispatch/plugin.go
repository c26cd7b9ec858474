package dispatch

import (
	"time"

	"balhost/host/internal/latency"
	"balhost/host/internal/route"
	"balhost/host/internal/tally"
	"balhost/host/internal/turns"

	"github.com/prometheus/client_golang/prometheus"
)

// plugin is what dispatch knows of one plugin: its lanes, which outlive its
// processes, and the processes of today.
type plugin struct {
	name        string
	claim       route.Claim
	claims      bool // claim counts
	instances   map[*Instance]bool
	serving     *Instance // takes events; nil: none
	next        *Instance // ready, but with another order: takes over when nothing is out or being committed
	trier       *Instance // takes suspects, one at a time; nil: none
	triedAt     time.Time // when a trier was last asked for
	paused      bool
	pausedSince time.Time               // zero: a version before, which did not store it
	devices     map[uint64]pausedDevice // whose events wait, by entry.DeviceHash
	pausedLanes map[uint64]pausedLane   // by the hash of their key
	parked      map[*lane]bool          // these lanes, and those whose heads are of these devices
	unread      error                   // why nobody can say whether it is paused, so that it is; nil: that is known

	order        route.Order       // that the lanes were made by
	laned        bool              // before the first Ready there are no lanes
	behind       bool              // not all of its events are in lanes:
	from         uint64            // those with a greater seq are not, nor those that full lanes left out
	loaded       int               // events in lanes
	hungry       map[*lane]bool    // lanes that left something out, and are running down
	lanes        map[laneKey]*lane // shared ones with events
	ready        [5]fifo[*lane]    // by the kind of their heads, in the order they became ready
	due          dueHeap           // lanes whose heads wait for a time
	trials       fifo[*lane]       // lanes whose heads are suspects
	losers       fifo[*lane]       // lanes whose heads have lost by a conflict, in that order
	nextKind     int               // in kinds, where pick begins
	crashes      map[uint64]int    // by seq: deaths of a process while it held this event
	content      string            // that served last; "": none has
	suspectAfter int               // deaths that make an event a suspect; 0: never

	handled, retried, died uint64
	canceled               uint64    // timers that were due, and nobody got
	again                  uint64    // events that were given up, and went to the end of their lanes
	rate                   float64   // handled a second, lately
	rated                  time.Time // when that was reckoned last
	ratedAt                uint64    // handled then
	failure                string    // why an event was not handled last; "" for never
	failedAt               time.Time // and when
	troubles               tally.Troubles
	told                   reasons   // that were logged lately
	unsaid                 int       // failures since the last line
	hungAt                 time.Time // when a stuck handler was logged last
	hungUnsaid             int       // stuck handlers since
	uncodedAt              time.Time // when a result without a code was logged last
	uncodedUnsaid          int       // such results since
	measured               bool      // it has series: from its first process on, until its file is removed
	waits, handlings       prometheus.Observer
	took                   latency.Recent // what handlings got
	stucks                 prometheus.Gauge

	turns    *turns.Table // at its state
	listed   listed
	enlisted map[*lane]*turns.Turn // losers that have asked for their keys; each has its place in the serving process's credit
	waiters  []*wait               // for turns, with their times
	reruns   uint64                // of handlers and updates, because of conflicts
	contest  contest
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
	about    subject    // the event, for people
	givenUp  time.Time  // a person gave it up, and its event has gone on without it; zero: nobody has
	run      *turns.Run // what it holds of the plugin's state; nil: nothing
	trace    *attemptSpan
}

// plugin finds or makes the entry for name.
func (d *Dispatcher) plugin(name string) *plugin {
	p := d.plugins[name]
	if p == nil {
		p = &plugin{
			name: name, instances: map[*Instance]bool{}, lanes: map[laneKey]*lane{}, crashes: map[uint64]int{},
			turns: turns.New(d.watchlist(name).set), listed: listed{}, parked: map[*lane]bool{}, enlisted: map[*lane]*turns.Turn{}, hungry: map[*lane]bool{},
			took: latency.Recent{Span: 5 * time.Minute},
		}
		d.readPause(p)
		d.plugins[name] = p
	}
	return p
}

// promote lets next serve. When its order is another, the lanes are made anew. That
// waits until nothing is handed out or being committed.
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
	d.claim(in)
	if relane {
		p.order, p.laned = in.Order, true
		d.unload(p)
	}
}

// busy reports whether anything is handed out or being committed.
func (p *plugin) busy() bool {
	for in := range p.instances {
		if in.busy() {
			return true
		}
	}
	return false
}

func (in *Instance) busy() bool { return len(in.out) > 0 || in.committing > 0 }

// removed forgets the plugin's claim. Its events stay, and wait for it.
func (d *Dispatcher) removed(name string) {
	if p := d.plugins[name]; p != nil {
		p.claims = false
		d.metrics.forget(p)
		d.retable()
	}
}
