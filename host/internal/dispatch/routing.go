package dispatch

import (
	"cmp"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/route"
)

// hold notes that nobody claims a category. It logs that, but not during the boot.
func (d *Dispatcher) hold(pl *pile, category string) {
	pl.since = time.Now()
	if d.booted {
		d.warnHeld(category)
	}
}

// warnHeld logs a category that nobody claims. It logs at most ten at once, then one a
// second, because devices choose the categories.
func (d *Dispatcher) warnHeld(category string) {
	if !d.naming.Allow() {
		d.unnamed++
		return
	}
	d.log.Warn("no plugin claims a category, its upstreams wait", "category", category, "unsaid", d.unnamed)
	d.unnamed = 0
}

// enlane puts an event at the end of its lane. If the lane is full, it only notes that more follow.
func (d *Dispatcher) enlane(p *plugin, e entry.Event) {
	key, shared := d.laneOf(p, e)
	if !shared {
		d.append(p, &lane{}, e)
		return
	}
	l := p.lanes[key]
	if l == nil {
		l = &lane{key: key, shared: true}
		p.lanes[key] = l
	}
	if l.next != 0 || l.events.len() >= d.laneRoom(p) {
		l.next, l.away = cmp.Or(l.next, e.Seq), l.away+1
		return
	}
	d.append(p, l, e)
}

func (d *Dispatcher) append(p *plugin, l *lane, e entry.Event) {
	l.events.push(e)
	p.loaded, d.loaded = p.loaded+1, d.loaded+1
	if l.events.len() == 1 {
		p.queue(l)
	}
}

// laneOf returns an event's lane (design.md §4, Lanes). The plugin's order decides the
// lane of an upstream, and the group that of an outcome or a receipt. What set a timer decides that of the timer.
func (d *Dispatcher) laneOf(p *plugin, e entry.Event) (key laneKey, shared bool) {
	if e.Kind == entry.Timer {
		return timerLane(p, e.Lane)
	}
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
	if _, paused := p.devices[e.Device]; paused && !shared {
		return laneKey{kind: entry.Upstream, hash: e.Device}, true // one lane, of which little is in memory
	}
	return laneKey{kind: entry.Upstream, hash: hash}, shared
}

// retable decides all claims again, after a plugin described itself or was removed. It
// moves the events whose owner is another one now.
func (d *Dispatcher) retable() {
	var claims []route.Claim
	for _, p := range d.plugins {
		if p.claims {
			claims = append(claims, p.claim)
		}
	}
	before := d.table.Losses()
	d.table = route.NewTable(claims, d.o.Ledger.Owner)
	for _, loss := range d.table.Losses() {
		if !slices.Contains(before, loss) {
			d.log.Warn("category is claimed twice: its messages go to the owner; to change that, name it in the categories of one plugin's block in config.hcl",
				"category", loss.Category, "owner", loss.Winner, "plugin", loss.Loser)
		}
	}
	d.keepOwners()
	for key, pl := range d.piles {
		if is := d.table.Owner(key.category); key.plugin == "" && is != pl.owner {
			d.move(pl, key.category, is)
		}
	}
}

// keepOwners stores who owns which category now. It does nothing during the boot, because
// the first plugin that describes itself need not be the owner.
func (d *Dispatcher) keepOwners() {
	if !d.booted {
		return
	}
	for category, owner := range d.table.Owners() {
		if d.o.Ledger.Owner(category) != owner {
			d.o.Ledger.SetOwner(category, owner, func(err error) {
				if err != nil {
					d.log.Warn("the owner of a category was not stored", "category", category, "plugin", owner, "err", err)
				}
			})
		}
	}
}

// everyLane returns every shared lane of p, and every other lane that has an event which
// is not handed out.
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
	for l := range p.parked {
		loose(l)
	}
	for _, q := range []*fifo[*lane]{&p.trials, &p.losers} {
		for _, l := range q.all() {
			loose(l)
		}
	}
	return all
}
