package dispatch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"balhost/host/internal/status"
)

// Status is what dispatch knows at one moment.
type Status struct {
	Plugins []PluginStatus   // sorted by name
	Holding []status.Holding // sorted by category; the maxHolding with the most events
	More    status.Rest      // the categories that are not in Holding
	Recent  []status.Recent  // the last events that ended, newest first
}

// PluginStatus is one plugin's work.
type PluginStatus struct {
	Name string
	status.Work
	oldest uint64 // the seq of the pending event that was stored first; 0: none is pending
}

// maxStucks limits the stuck handlers that a status names.
const maxStucks = 10

// maxHolding limits the categories that a status names, because devices choose them.
const maxHolding = 100

// Status asks Run for its state. It fails when ctx ends or when Run has ended.
func (d *Dispatcher) Status(ctx context.Context) (s Status, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error { s = d.status(); return nil })
	for i := range s.Plugins { // not on Run's goroutine: it may read the disk
		if p := &s.Plugins[i]; p.oldest != 0 {
			p.Oldest = d.o.Ledger.EventSince(p.oldest)
		}
	}
	return s, err
}

func (d *Dispatcher) status() Status {
	s := Status{Recent: d.recent.newestFirst()}
	lost, to := map[string][]string{}, map[string][]string{}
	for _, loss := range d.table.Losses() {
		lost[loss.Loser] = append(lost[loss.Loser], loss.Category)
		to[loss.Loser] = append(to[loss.Loser], loss.Winner)
	}
	pending, now := d.pending(), time.Now()
	for name, p := range d.plugins {
		took := p.took.Summary(now)
		st := PluginStatus{Name: name, Work: status.Work{
			HandlingP50: took.P50.Seconds() * 1000, HandlingP99: took.P99.Seconds() * 1000,
			Paused: p.paused, PausedSince: p.pausedSinceNow(), PausedDevices: p.pausedDevices(), PausedLanes: p.lanesPaused(), Order: p.order.String(), Lost: lost[name], LostTo: to[name],
			Pending: pending[name], Lanes: len(p.lanes), Suspects: p.trials.len(),
			LastFailure: p.failure, LastFailureAt: p.failedAt, Troubles: p.troubles.List(),
			Handled: p.handled, Retried: p.retried, Died: p.died, Rate: p.rate,
			Reruns: p.reruns, RerunKey: p.contest.key, RerunAt: p.contest.at, Turns: p.turns.Waiting() + p.losers.len(),
		}}
		if st.Pending > 0 {
			st.oldest = d.oldest(p)
		}
		if p.unread != nil {
			st.LastFailure, st.LastFailureAt = "whether it is paused can't be read, so it is paused: "+p.unread.Error(), now
		}
		st.Waiting = len(p.due)
		st.NextTry, st.LastTry = p.wait()
		for in := range p.instances {
			st.InFlight += len(in.out)
			st.Stuck += in.stuck
			if in.stuck > 0 {
				st.StuckHandlers = append(st.StuckHandlers, in.stucks(now)...)
			}
		}
		slices.SortFunc(st.StuckHandlers, func(a, b status.StuckHandler) int { return a.Started.Compare(b.Started) })
		st.StuckHandlers = st.StuckHandlers[:min(len(st.StuckHandlers), maxStucks)]
		s.Plugins = append(s.Plugins, st)
	}
	slices.SortFunc(s.Plugins, func(a, b PluginStatus) int { return cmp.Compare(a.Name, b.Name) })
	for key, pl := range d.piles {
		if pl.owner == "" {
			s.Holding = append(s.Holding, status.Holding{Category: key.category, Pending: pl.count, Since: pl.since})
		}
	}
	if len(s.Holding) > maxHolding {
		slices.SortFunc(s.Holding, func(a, b status.Holding) int {
			return cmp.Or(cmp.Compare(b.Pending, a.Pending), cmp.Compare(a.Category, b.Category))
		})
		for _, h := range s.Holding[maxHolding:] {
			s.More.Categories++
			s.More.Pending += h.Pending
		}
		s.Holding = slices.Clone(s.Holding[:maxHolding])
	}
	slices.SortFunc(s.Holding, func(a, b status.Holding) int { return cmp.Compare(a.Category, b.Category) })
	return s
}

// oldest returns the seq of p's pending event that was stored first; 0: none is pending. It
// looks at each lane in memory, and caps bound how many there are.
func (d *Dispatcher) oldest(p *plugin) (seq uint64) {
	see := func(l *lane) {
		if l.events.len() > 0 && (seq == 0 || l.head().Seq < seq) {
			seq = l.head().Seq
		}
	}
	for _, l := range p.everyLane() {
		see(l)
	}
	for in := range p.instances {
		for _, out := range in.out {
			if out.givenUp.IsZero() {
				see(out.lane)
			}
		}
	}
	if seq > 0 || !p.behind { // what is not in lanes is newer
		return seq
	}
	events := d.o.Ledger.Events(p.from, d.caps.batch)
	for i := range events {
		if d.isIdle(p, &events[i]) {
			return events[i].Seq
		}
	}
	if len(events) > 0 {
		return events[0].Seq // Weak: if others have so many before, it seems older than it is
	}
	return 0
}

// ring keeps the last events that ended.
type ring struct {
	items [32]status.Recent
	next  int
}

func (r *ring) add(item status.Recent) {
	r.items[r.next%len(r.items)] = item
	r.next++
}

func (r *ring) newestFirst() []status.Recent {
	var all []status.Recent
	for i := r.next - 1; i >= 0 && i >= r.next-len(r.items); i-- {
		all = append(all, r.items[i%len(r.items)])
	}
	return all
}
