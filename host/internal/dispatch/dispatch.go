// Package dispatch hands the ledger's events to plugins. Events of one lane go one
// after the other, in order (P5), and each comes again until it has ended (P8). What
// a handler did is committed with the end of its event (P7). The package holds no
// message that is not in the ledger (P0): lanes are an index of what is pending. They
// hold as much of it as there is room for, and are made anew at every start.
//
// One goroutine, [Dispatcher.Run], owns all lanes. Everybody else leaves in its
// mailbox what happened. It never waits for a plugin or a commit, so one that is
// stuck slows no other.
//
// The way of an event: Run reads it (intake, place), gives it to a process
// (handout.go), gets the result back ([Instance.Frame]), and commits its end
// (settle.go). Start at [Dispatcher.Run].
package dispatch

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/host/internal/route"
	"balhost/host/internal/span"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Ledger is what dispatch needs of the ledger. Each done is called after the commit.
type Ledger interface { //house:wide events, leases, ends and state are one store, and an end changes all of them
	// What is pending, and who may end it (lease 0: nobody).
	Events(after uint64, max int) []entry.Event
	EventsChanged() <-chan struct{}
	EventSince(seq uint64) time.Time // when it was stored; zero: it is not pending any more
	Body(seq uint64) (entry.Body, error)
	Lease(seq, lease uint64)
	// What plugins change.
	Settle(s entry.Settlement, done func(error))
	Get(plugin, key string) (json.RawMessage, uint64, error)
	List(plugin string, s entry.Span) (entry.Listing, error)
	Update(plugin string, c entry.Changes, done func(error))
	Cancel(plugin string, which []entry.Cancel, done func(canceled int, err error))
	// Which plugin had a category last.
	Owner(category string) string
	SetOwner(category, plugin string, done func(error))
}

// Options are the parts that a Dispatcher works with. All but Log and Metrics
// are needed.
type Options struct {
	Ledger  Ledger
	Senders func() entry.Senders // of the config in force; a downstream that names none goes to the only one
	Retry   backoff.Policy
	Log     hclog.Logger
	Metrics prometheus.Registerer
	Feed    *feed.Hub    // hears what becomes of events; nil: nobody does
	Tracer  *span.Tracer // hears of attempts; nil: nothing is traced
}

// Dispatcher is the one dispatcher of a host. Its methods may be called from
// any goroutine.
type Dispatcher struct {
	o       Options
	log     hclog.Logger
	metrics *metrics
	box     mailbox
	watched sync.Map // name of a plugin → *watchlist

	// What follows is owned by Run.
	rnd     *rand.Rand
	booted  bool // every plugin present at boot has described itself or failed
	cursor  uint64
	lease   uint64
	plugins map[string]*plugin
	table   *route.Table
	caps    caps
	piles   map[pileKey]*pile
	busy    map[uint64]bool // events that are handed out, or whose end is being committed
	noticed map[uint64]bool // events that were erased, of which Gone or notice has been called, and not the other
	loaded  int             // events in lanes
	naming  *rate.Limiter   // of categories in the log that nobody claims
	unnamed int             // categories that it did not let through, since the last one
	recent  ring
}

// New makes a Dispatcher; Run starts it.
func New(o Options) *Dispatcher {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Retry == (backoff.Policy{}) {
		o.Retry = backoff.Policy{Min: time.Second, Max: 5 * time.Minute}
	}
	return &Dispatcher{
		o:       o,
		log:     o.Log,
		metrics: newMetrics(o.Metrics),
		box:     newMailbox(),
		rnd:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		plugins: map[string]*plugin{},
		table:   route.NewTable(nil, o.Ledger.Owner),
		caps:    usual,
		piles:   map[pileKey]*pile{},
		busy:    map[uint64]bool{},
		noticed: map[uint64]bool{},
		naming:  rate.NewLimiter(1, 10),
	}
}

// Run reads pending events, puts them into lanes and hands them out, until ctx
// ends. What is handed out then stays pending in the ledger.
func (d *Dispatcher) Run(ctx context.Context) error {
	defer d.box.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	var news []func(*Dispatcher)
	for {
		changed := d.o.Ledger.EventsChanged() // fetched before looking, so that no hint is lost
		news = d.box.drain(news)
		for _, happened := range news {
			happened(d)
		}
		due.Reset(time.Until(d.work()))
		select {
		case <-changed:
		case <-d.box.hint:
		case <-due.C:
		case now := <-tick.C:
			d.watch(now)
		case <-ctx.Done():
			return nil
		}
	}
}

// work does what can be done now, and says when there is more to do.
func (d *Dispatcher) work() (next time.Time) {
	more := d.intake()
	now := time.Now()
	next = now.Add(time.Hour)
	for _, p := range d.plugins {
		more = d.load(p) || more
		p.wake(now)
		d.pass(p, now)
		d.fill(p, now)
		if at, ok := p.nextWait(); ok && at.Before(next) {
			next = at
		}
		if at, ok := p.nextDue(); ok && at.Before(next) {
			next = at
		}
	}
	if more {
		return now
	}
	return next
}

// intake reads the events that the ledger got since the last time. It reports
// whether there are more: after a start there may be very many.
func (d *Dispatcher) intake() (more bool) {
	for range d.caps.reads {
		events := d.o.Ledger.Events(d.cursor, d.caps.batch)
		for _, e := range events {
			d.cursor = e.Seq
			d.place(e)
		}
		if len(events) < d.caps.batch {
			return false
		}
	}
	return true
}

// Removed says that the plugin's file is gone: it claims nothing any more. Its
// events and the categories that nobody else claims wait for it.
func (d *Dispatcher) Removed(name string) {
	d.box.put(func(d *Dispatcher) { d.removed(name) })
}

// Booted says that every plugin present at boot has described itself or
// failed: from now on events go out, and "*" can't take what is another's.
func (d *Dispatcher) Booted() {
	d.box.put(func(d *Dispatcher) {
		d.booted = true
		d.keepOwners()
		for key, pl := range d.piles {
			if pl.owner == "" {
				d.warnHeld(key.category)
			}
		}
	})
}

// ask runs f in Run and waits for it.
func (d *Dispatcher) ask(ctx context.Context, f func(*Dispatcher) error) error {
	answer := make(chan error, 1)
	d.box.put(func(d *Dispatcher) { answer <- f(d) })
	return d.await(ctx, answer)
}

func (d *Dispatcher) await(ctx context.Context, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-d.box.closed:
		return entry.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
