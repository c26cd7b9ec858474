package dispatch

import (
	"container/heap"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/route"
)

// held are the events of a category that no plugin claims.
type held struct {
	events []entry.Event
	since  time.Time
}

// place gives a pending event to its plugin. One that was not ready since this
// start has no lanes yet; a category of nobody is held.
func (d *Dispatcher) place(e entry.Event) {
	name := e.Plugin
	if name == "" {
		name = d.table.Owner(e.Category)
		d.seen[e.Category] = true
	}
	if name == "" {
		h := d.held[e.Category]
		if h == nil {
			h = &held{since: time.Now()}
			d.held[e.Category] = h
			if d.settled {
				d.warnHeld(e.Category)
			}
		}
		h.events = append(h.events, e)
		return
	}
	p := d.plugin(name)
	p.pending++
	if !p.laned {
		p.waiting.push(e)
		return
	}
	d.enlane(p, e)
}

func (d *Dispatcher) warnHeld(category string) {
	d.log.Warn("no plugin claims a category, its upstreams wait", "category", category)
}

// enlane puts a pending event into its lane: at the end, or, when it comes from
// another plugin after a change of claims, where its sequence number belongs.
func (d *Dispatcher) enlane(p *plugin, e entry.Event) {
	key, shared := d.laneOf(p, e)
	if !shared {
		l := &lane{}
		l.events.push(e)
		p.queue(l)
		return
	}
	l := p.lanes[key]
	if l == nil {
		l = &lane{key: key, shared: true}
		p.lanes[key] = l
	}
	l.events.push(e)
	if l.events.len() == 1 {
		p.queue(l)
		return
	}
	events := l.events.all()
	for i := len(events) - 1; i > 0 && events[i-1].Seq > e.Seq && !(i == 1 && l.busy); i-- {
		events[i-1], events[i] = events[i], events[i-1]
		if i == 1 {
			heap.Init(&p.due) // the lane may wait there, by another head
		}
	}
}

// laneOf gives an event's lane (design.md §4, Lanes): upstreams by the plugin's
// order, outcomes and receipts by their group.
func (d *Dispatcher) laneOf(p *plugin, e entry.Event) (key laneKey, shared bool) {
	if e.Kind != entry.Upstream {
		return laneKey{kind: entry.Outcome, hash: e.Group}, e.Group != 0
	}
	var payload []byte
	if p.order.NeedsPayload() {
		if body, err := d.o.Ledger.Body(e.Seq); err != nil {
			d.log.Error("event cannot be read, its device is its lane", "seq", e.Seq, "err", err)
		} else {
			payload = body.Upstream.Raw
		}
	}
	hash, shared := p.order.Lane(e.Device, payload)
	return laneKey{kind: entry.Upstream, hash: hash}, shared
}

// retable settles all claims anew, after a plugin described itself or was
// removed, and moves what has another owner now.
func (d *Dispatcher) retable() {
	var claims []route.Claim
	for _, p := range d.plugins {
		if p.claims {
			claims = append(claims, p.claim)
		}
	}
	before := d.table
	d.table = route.NewTable(claims, d.o.Ledger.Owner)
	for _, loss := range d.table.Losses() {
		d.log.Warn("category is claimed twice", "category", loss.Category, "plugin", loss.Loser, "owner", loss.Winner)
	}
	moved := map[string]bool{} // the plugins that lose something
	for category := range d.seen {
		if was, is := before.Owner(category), d.table.Owner(category); was != is && was != "" {
			moved[was] = true
		}
	}
	d.keepOwners()
	for name := range moved {
		d.resort(d.plugins[name])
	}
	for category, h := range d.held {
		if d.table.Owner(category) != "" {
			delete(d.held, category)
			for _, e := range h.events {
				d.place(e)
			}
		}
	}
}

// keepOwners stores who has which category now, but not while plugins are yet to
// describe themselves: the first one there is not the owner.
func (d *Dispatcher) keepOwners() {
	if !d.settled {
		return
	}
	for category, owner := range d.table.Owners() {
		if d.o.Ledger.Owner(category) != owner {
			d.o.Ledger.SetOwner(category, owner, func(err error) {
				if err != nil {
					d.log.Warn("owner of a category not stored", "category", category, "plugin", owner, "err", err)
				}
			})
		}
	}
}

// resort takes every event of p that is not handed out, and places each anew,
// in ledger order.
func (d *Dispatcher) resort(p *plugin) {
	events := slices.Clone(p.waiting.all())
	for _, l := range p.everyLane() {
		stays := 0
		if l.busy {
			stays = 1
		} else if l.shared {
			delete(p.lanes, l.key)
		}
		events = append(events, l.events.all()[stays:]...)
		l.events.items = l.events.items[:l.events.first+stays]
	}
	p.waiting, p.ready, p.due, p.trials = fifo[entry.Event]{}, [4]fifo[*lane]{}, nil, fifo[*lane]{}
	slices.SortFunc(events, func(a, b entry.Event) int { return int(int64(a.Seq) - int64(b.Seq)) })
	for _, e := range events {
		p.pending--
		d.place(e)
	}
}

// everyLane is every lane of p that has an event which is not handed out, and
// every shared lane.
func (p *plugin) everyLane() []*lane {
	var all []*lane
	for _, l := range p.lanes {
		all = append(all, l)
	}
	loose := func(l *lane) {
		if !l.shared {
			all = append(all, l)
		}
	}
	for kind := range p.ready {
		for _, l := range p.ready[kind].all() {
			loose(l)
		}
	}
	for _, l := range p.due {
		loose(l)
	}
	for _, l := range p.trials.all() {
		loose(l)
	}
	return all
}
