package dispatch

import (
	"time"

	"balhost/host/internal/entry"
)

// caps bound what lanes hold of the ledger's events, so that a backlog doesn't decide
// how much memory the host needs. What doesn't fit stays in the ledger until there is
// room.
type caps struct {
	loaded int // events in the lanes of all plugins together
	least  int // of these that a plugin may have in any case; or four times its credit, if that is more
	lane   int // events of one lane while there is much room; fewer when there is less
	batch  int // events read at once
	reads  int // of the ledger in a row, then others go on
}

// usual is about 10 MiB.
var usual = caps{loaded: 32 << 10, least: 1 << 10, lane: 128, batch: 1000, reads: 8}

// A plugin that is behind has in its lanes its events up to plugin.from, but for those
// that are handed out and those that full lanes have left out. So what is read from
// there on is in no lane. A plugin that is not behind has all its events there, with
// the same exceptions.

// pile is what is pending of one category, or of what one plugin owns by name,
// in lanes or not.
type pile struct {
	owner string // the plugin; "": nobody claims it
	count int
	first uint64    // none of it has a smaller seq
	since time.Time // nobody claims it
}

// pileKey has either a plugin or a category, which may be "".
type pileKey struct{ plugin, category string }

func keyOf(e *entry.Event) pileKey {
	if e.Plugin != "" {
		return pileKey{plugin: e.Plugin}
	}
	return pileKey{category: e.Category}
}

// place takes note of a pending event, the newest so far. It goes into a lane if
// its plugin has all that came before in lanes, and there is room.
func (d *Dispatcher) place(e entry.Event) {
	key, owner := keyOf(&e), d.owner(&e)
	if pl := d.piles[key]; pl == nil {
		pl = &pile{owner: owner, first: e.Seq}
		d.piles[key] = pl
		if owner == "" {
			d.hold(pl, key.category)
		}
	} else if pl.owner != owner { // since the ledger remembers another one
		d.move(pl, key.category, owner)
	}
	d.piles[key].count++
	if owner == "" {
		return
	}
	p := d.plugin(owner)
	switch {
	case p.behind:
	case p.laned && d.wanted(p) > 0:
		d.enlane(p, e)
	default:
		p.behind, p.from = true, e.Seq-1
	}
}

// owner is the plugin that an event belongs to now; "": nobody.
func (d *Dispatcher) owner(e *entry.Event) string {
	if e.Plugin != "" {
		return e.Plugin
	}
	return d.table.Owner(e.Category)
}

// over takes an event that has ended off its pile.
func (d *Dispatcher) over(e *entry.Event) {
	key := keyOf(e)
	if pl := d.piles[key]; pl != nil {
		if pl.count--; pl.count <= 0 {
			delete(d.piles, key)
		}
	}
}

// move gives a category's pile to another plugin, or to nobody. What was its
// owner's goes out of the lanes; the new one looks through the ledger from its first event on.
func (d *Dispatcher) move(pl *pile, category, to string) {
	was := pl.owner
	pl.owner = to
	if was != "" {
		d.unload(d.plugin(was))
	}
	if to == "" {
		d.hold(pl, category)
	} else {
		d.rewind(d.plugin(to), pl.first)
	}
}

// rewind has p look through the ledger from seq on, at the latest.
func (d *Dispatcher) rewind(p *plugin, seq uint64) {
	d.unload(p)
	if !p.behind || p.from > seq-1 {
		p.behind, p.from = true, seq-1
	}
}

// room is how many events p may take into its lanes.
func (d *Dispatcher) room(p *plugin) int {
	return max(d.caps.loaded-d.loaded, d.share(p)-p.loaded)
}

func (d *Dispatcher) share(p *plugin) int {
	if p.serving == nil {
		return d.caps.least
	}
	return max(d.caps.least, 4*p.serving.MaxInFlight)
}

// laneRoom is how many events of one lane may be in memory. The less room there
// is, the fewer: lanes that wait for a time should not keep others from going on.
func (d *Dispatcher) laneRoom(p *plugin) int {
	switch room := d.room(p); {
	case room > d.caps.loaded/2, d.flows(p):
		return d.caps.lane
	case room > d.caps.loaded/8, room > d.share(p)/2:
		return max(1, d.caps.lane/8)
	}
	return 1
}

// wanted is how many events p should take into its lanes now. While it flows, it leaves
// half of the room free. Otherwise lanes would fill up, leave out more and more, and read
// through the backlog again and again for what they have left out.
func (d *Dispatcher) wanted(p *plugin) int {
	switch {
	case p.serving == nil:
		return d.share(p) - p.loaded
	case d.flows(p):
		return d.room(p) - d.caps.loaded/2
	}
	return d.room(p)
}

// flows reports whether p's lanes keep its process busy as they are: half as many as it
// can hold can go next. Lanes that wait for a time don't count, so p reads on behind them.
func (d *Dispatcher) flows(p *plugin) bool {
	in := p.serving
	return in != nil && p.ready[entry.Upstream].len()+in.committing > in.MaxInFlight/2 && !d.lacks(p)
}

// lacks reports whether outcomes or receipts of p are pending, and none of them can go
// next. They have turns of their own (see kinds), so upstreams must not hold them up.
func (d *Dispatcher) lacks(p *plugin) bool {
	pl := d.piles[pileKey{plugin: p.name}]
	return pl != nil && pl.count > p.serving.outOther && p.ready[entry.Outcome].len()+p.ready[entry.Receipt].len() == 0
}

// load fills p's lanes from the ledger, and reports whether there is more to do at once.
func (d *Dispatcher) load(p *plugin) (more bool) {
	if !p.laned || d.wanted(p) <= 0 {
		return false
	}
	return d.feed(p) || d.forward(p)
}

// forward reads on where p's lanes end: what comes there is in no lane yet.
func (d *Dispatcher) forward(p *plugin) (more bool) {
	for range d.caps.reads {
		room := d.wanted(p)
		if !p.behind || room < max(1, d.share(p)/4) {
			return false
		}
		events := d.o.Ledger.Events(p.from, min(room, d.caps.batch))
		if len(events) == 0 {
			p.behind = false
		}
		for i := range events {
			e := &events[i]
			if e.Seq > d.cursor { // place takes it
				p.behind = false
				break
			}
			p.from = e.Seq
			if d.isIdle(p, e) {
				d.enlane(p, *e)
			}
		}
	}
	return p.behind
}

// isIdle reports whether an event that the ledger has is p's and handed out to nobody.
func (d *Dispatcher) isIdle(p *plugin, e *entry.Event) bool {
	pl := d.piles[keyOf(e)]
	return pl != nil && pl.owner == p.name && !d.busy[e.Seq]
}

// feed reads what was left out of lanes that were full and are running down. Other lanes
// that have room get theirs in passing: they will run down soon.
func (d *Dispatcher) feed(p *plugin) (more bool) {
	for range d.caps.reads {
		var from uint64
		room, most := d.laneRoom(p), 0
		for l := range p.hungry {
			if l.events.len() >= room {
				delete(p.hungry, l) // until its head ends
				continue
			}
			if most += 4 * (room - l.events.len()); from == 0 || l.next < from {
				from = l.next
			}
		}
		if from == 0 {
			return false
		}
		most = min(most, d.caps.batch)
		start, full := from, map[*lane]bool{}
		events := d.o.Ledger.Events(from-1, most)
		end := len(events) < most
		for i := range events {
			e := &events[i]
			if e.Seq > d.cursor || p.behind && e.Seq > p.from {
				end = true
				break
			}
			from = e.Seq + 1
			if !d.isIdle(p, e) {
				continue
			}
			key, shared := d.laneOf(p, *e)
			l := p.lanes[key]
			if !shared || l == nil || l.next < start || l.next > e.Seq || full[l] { // it has left out something before, or not this one
				continue
			}
			if l.events.len() >= d.laneRoom(p) {
				l.next, full[l] = e.Seq, true
				delete(p.hungry, l)
				continue
			}
			l.next, l.away = e.Seq+1, l.away-1
			d.append(p, l, *e)
		}
		for l := range p.hungry {
			if l.next < from {
				l.next = from
			}
			if end {
				l.next, l.away = 0, 0
				delete(p.hungry, l)
				p.keep(l)
			}
		}
	}
	return len(p.hungry) > 0
}

// unload takes every event of p that is not handed out out of the lanes. It is
// in the ledger, and forward finds it again.
func (d *Dispatcher) unload(p *plugin) {
	p.withdraw()
	low := uint64(0)
	lower := func(seq uint64) {
		if low == 0 || seq < low {
			low = seq
		}
	}
	for _, l := range p.everyLane() {
		stays := 0
		if l.busy {
			stays = 1
		} else if l.shared {
			delete(p.lanes, l.key)
		}
		if idle := l.events.all()[stays:]; len(idle) > 0 {
			lower(idle[0].Seq)
			p.loaded, d.loaded = p.loaded-len(idle), d.loaded-len(idle)
			clear(idle)
		}
		if l.next != 0 {
			lower(l.next)
		}
		l.events.items = l.events.items[:l.events.first+stays]
		l.next, l.away = 0, 0
	}
	p.ready, p.due, p.trials, p.losers = [5]fifo[*lane]{}, nil, fifo[*lane]{}, fifo[*lane]{}
	clear(p.hungry)
	clear(p.parked)
	if low != 0 && (!p.behind || p.from >= low) {
		p.behind, p.from = true, low-1
	}
}

// pending is what is not done of each plugin's.
func (d *Dispatcher) pending() map[string]int {
	n := map[string]int{}
	for _, pl := range d.piles {
		n[pl.owner] += pl.count
	}
	return n
}
