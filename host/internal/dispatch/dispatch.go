// Package dispatch hands the ledger's events to plugins: one lane after its
// order (P5), each until it is settled (P8), what a handler did committed with
// its end (P7). It holds no message that is not in the ledger (P0): lanes are
// an index that is rebuilt at every start, of as much of the ledger as there is room for.
//
// One goroutine, [Dispatcher.Run], owns all lanes; everybody else leaves what
// happened in its mailbox. It never waits for a plugin or a commit, so that a
// stuck one slows no other. Start at [Dispatcher.Run].
package dispatch

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/route"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Ledger is what dispatch needs of the ledger.
type Ledger interface { //house:wide events, leases, ends and state are one store, and an end changes all of them
	Events(after uint64, max int) []entry.Event
	EventsChanged() <-chan struct{}
	Body(seq uint64) (entry.Body, error)
	Lease(seq, lease uint64)
	Settle(s entry.Settlement, done func(error))
	Get(plugin, key string) (json.RawMessage, uint64, error)
	Update(plugin string, c entry.Changes, done func(error))
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
	settled bool // every plugin present at boot has described itself or failed
	cursor  uint64
	lease   uint64
	plugins map[string]*plugin
	table   *route.Table
	caps    caps
	piles   map[pileKey]*pile
	busy    map[uint64]bool // events that are handed out, or whose end is being committed
	loaded  int             // events in lanes
	naming  *rate.Limiter   // of those in the log
	unnamed int             // that it did not let through, since the last one
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
	for {
		changed := d.o.Ledger.EventsChanged() // take the hint before looking, so that none is lost
		for _, happened := range d.box.take() {
			happened(d)
		}
		more := d.intake()
		now := time.Now()
		next := now.Add(time.Hour)
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
			next = now
		}
		due.Reset(time.Until(next))
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

// intake reads the events that the ledger took since the last time, and reports
// whether there are more: after a start there may be very many.
func (d *Dispatcher) intake() (more bool) {
	for range d.caps.turn {
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

// Settled says that every plugin present at boot has described itself or
// failed: from now on events go out, and "*" can't take what is another's.
func (d *Dispatcher) Settled() {
	d.box.put(func(d *Dispatcher) {
		d.settled = true
		d.keepOwners()
		for key, pl := range d.piles {
			if pl.owner == "" {
				d.warnHeld(key.category)
			}
		}
	})
}

// Pause holds the plugin's events until Resume, over restarts of the host too.
// What it has been handed goes on. The error is the ledger's.
func (d *Dispatcher) Pause(ctx context.Context, name string) error { return d.pause(ctx, name, true) }

// Resume undoes Pause.
func (d *Dispatcher) Resume(ctx context.Context, name string) error { return d.pause(ctx, name, false) }

func pausedKey(name string) string { return "paused/" + name }

// readPause reads whether p is paused. While that can't be read it is: a person
// may have had a reason. [Dispatcher.watch] reads again.
func (d *Dispatcher) readPause(p *plugin) {
	value, _, err := d.o.Ledger.Get(entry.HostState, pausedKey(p.name))
	switch {
	case err != nil && p.unread == nil:
		d.log.Error("cannot read whether a plugin is paused, so it gets no events until it can be read", "plugin", p.name, "err", err)
	case err == nil && p.unread != nil:
		d.log.Info("it can be read again whether a plugin is paused", "plugin", p.name)
	}
	p.paused, p.unread = value != nil || err != nil, err
}

func (d *Dispatcher) pause(ctx context.Context, name string, on bool) error {
	write := entry.Write{Key: pausedKey(name)}
	if on {
		write.Value = json.RawMessage("true")
	}
	answer := make(chan error, 1)
	d.o.Ledger.Update(entry.HostState, entry.Changes{Writes: []entry.Write{write}}, func(err error) {
		if err != nil {
			answer <- err
			return
		}
		d.box.put(func(d *Dispatcher) { // what is stored is in force, whether anybody waits for the answer or not
			p := d.plugin(name)
			p.paused, p.unread = on, nil
			answer <- nil
		})
	})
	return d.await(ctx, answer)
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
