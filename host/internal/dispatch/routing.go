package dispatch

import (
	"cmp"
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

// place gives a pending event, the newest so far, to its plugin. One that was
// not ready since this start has no lanes yet; a category of nobody is held.
func (d *Dispatcher) place(e entry.Event) {
	p := d.owner(e)
	switch {
	case p == nil:
		d.hold(e)
	case p.laned:
		p.pending++
		d.enlane(p, e)
	default:
		p.pending++
		p.waiting.push(e)
	}
}

// owner is the plugin that an event belongs to now; nil: nobody.
func (d *Dispatcher) owner(e entry.Event) *plugin {
	name := e.Plugin
	if name == "" {
		name = d.table.Owner(e.Category)
		d.seen[e.Category] = true
	}
	if name == "" {
		return nil
	}
	return d.plugin(name)
}

func (d *Dispatcher) hold(e entry.Event) {
	h := d.held[e.Category]
	if h == nil {
		h = &held{since: time.Now()}
		d.held[e.Category] = h
		if d.settled {
			d.warnHeld(e.Category)
		}
	}
	h.events = append(h.events, e)
}

// warnHeld names a category that nobody claims: ten at once, then one in a
// second, because devices choose them.
func (d *Dispatcher) warnHeld(category string) {
	if !d.naming.Allow() {
		d.unnamed++
		return
	}
	d.log.Warn("no plugin claims a category, its upstreams wait", "category", category, "unsaid", d.unnamed)
	d.unnamed = 0
}

// enlane puts an event at the end of its lane.
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
	var changed []*plugin
	for name := range moved {
		changed = append(changed, d.plugins[name])
	}
	for category, h := range d.held {
		if owner := d.table.Owner(category); owner != "" {
			delete(d.held, category)
			changed = append(changed, d.wait(d.plugin(owner), h.events...))
		}
	}
	d.resort(changed...)
}

// wait leaves events of any age with p, which is to be resorted.
func (d *Dispatcher) wait(p *plugin, events ...entry.Event) *plugin {
	p.pending += len(events)
	for _, e := range events {
		p.waiting.push(e)
	}
	return p
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

// resort puts everything of these plugins that is not handed out where it
// belongs now: into lanes in ledger order, or to another owner, which is
// resorted then.
func (d *Dispatcher) resort(plugins ...*plugin) {
	for len(plugins) > 0 {
		p := plugins[0]
		plugins = plugins[1:]
		away := map[*plugin][]entry.Event{}
		for _, e := range p.idle() {
			switch owner := d.owner(e); {
			case owner == nil:
				p.pending--
				d.hold(e)
			case owner != p:
				p.pending--
				away[owner] = append(away[owner], e)
			case p.laned:
				d.enlane(p, e)
			default:
				p.waiting.push(e)
			}
		}
		for owner, events := range away {
			plugins = append(plugins, d.wait(owner, events...))
		}
	}
}

// idle takes every event that is not handed out from p, in ledger order.
func (p *plugin) idle() []entry.Event {
	p.withdraw()
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
	p.waiting, p.ready, p.due, p.trials, p.losers = fifo[entry.Event]{}, [4]fifo[*lane]{}, nil, fifo[*lane]{}, fifo[*lane]{}
	slices.SortFunc(events, func(a, b entry.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return events
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
	for _, q := range []*fifo[*lane]{&p.trials, &p.losers} {
		for _, l := range q.all() {
			loose(l)
		}
	}
	return all
}
