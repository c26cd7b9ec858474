package dispatch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"balhost/host/internal/entry"
)

// Status is what dispatch knows at one moment.
type Status struct {
	Plugins []PluginStatus // sorted by name
	Holding []Holding      // sorted by category; the maxHolding with the most events
	More    Rest           // what is not in Holding
	Recent  []Recent       // the last events that ended, newest first
}

// PluginStatus is one plugin's work.
type PluginStatus struct {
	Name     string
	Paused   bool
	Order    string
	Lost     []string  // categories that it claims and another one has
	Pending  int       // events that are not done
	Waiting  int       // of these, wait for a time, each with its lane
	Next     time.Time // when the first of them is handed out again; zero for none
	Last     time.Time // and the last
	InFlight int       // of these, handed out
	Lanes    int       // ordered lanes with events
	Stuck    int       // handlers that went on after their time was up
	Stucks   []Stuck   // of these, the maxStucks that began first
	Suspects int       // events that wait to be tried alone
	Failure  string    // why an event was not handled last; "" for never
	FailedAt time.Time
	Handled  uint64 // since this start
	Retried  uint64
	Died     uint64
	Rate     float64 // handled a second, lately
	Reruns   uint64  // of handlers and updates, because state that they had read had changed
	RerunKey string  // the key of the last one
	RerunAt  time.Time
	Turns    int // handlers, commits and updates that wait for keys which others have
}

// Stuck is a handler that went on after its time was up.
type Stuck struct {
	ID      string // the event's
	Kind    entry.Kind
	Device  string // its token; "" where there is none
	Started time.Time
}

// maxStucks bounds the stuck handlers that a status names.
const maxStucks = 10

// Holding is a category that nobody claims.
type Holding struct {
	Category string
	Pending  int
	Since    time.Time
}

// maxHolding bounds the categories that a status names: they come from outside.
const maxHolding = 100

// Rest sums up the categories that nobody claims and a status does not name.
type Rest struct{ Categories, Pending int }

// Recent is one event that ended.
type Recent struct {
	At       time.Time
	Plugin   string
	Kind     entry.Kind
	End      string // handled or dead
	Category string
	Seq      uint64
}

// Status asks Run for its state. It fails when ctx ends or Run has.
func (d *Dispatcher) Status(ctx context.Context) (s Status, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error { s = d.status(); return nil })
	return s, err
}

func (d *Dispatcher) status() Status {
	s := Status{Recent: d.recent.newestFirst()}
	lost := map[string][]string{}
	for _, loss := range d.table.Losses() {
		lost[loss.Loser] = append(lost[loss.Loser], loss.Category)
	}
	pending := d.pending()
	for name, p := range d.plugins {
		st := PluginStatus{
			Name: name, Paused: p.paused, Order: p.order.String(), Lost: lost[name],
			Pending: pending[name], Lanes: len(p.lanes), Suspects: p.trials.len(),
			Failure: p.failure, FailedAt: p.failedAt,
			Handled: p.handled, Retried: p.retried, Died: p.died, Rate: p.rate,
			Reruns: p.reruns, RerunKey: p.contest.key, RerunAt: p.contest.at, Turns: p.turns.Waiting() + p.losers.len(),
		}
		if p.unread != nil {
			st.Failure, st.FailedAt = "it can't be read whether it is paused, so it is: "+p.unread.Error(), time.Now()
		}
		st.Waiting = len(p.due)
		st.Next, st.Last = p.wait()
		for in := range p.instances {
			st.InFlight += len(in.out)
			st.Stuck += in.stuck
			if in.stuck > 0 {
				st.Stucks = append(st.Stucks, in.stucks(time.Now())...)
			}
		}
		slices.SortFunc(st.Stucks, func(a, b Stuck) int { return a.Started.Compare(b.Started) })
		st.Stucks = st.Stucks[:min(len(st.Stucks), maxStucks)]
		s.Plugins = append(s.Plugins, st)
	}
	slices.SortFunc(s.Plugins, func(a, b PluginStatus) int { return cmp.Compare(a.Name, b.Name) })
	for key, pl := range d.piles {
		if pl.owner == "" {
			s.Holding = append(s.Holding, Holding{Category: key.category, Pending: pl.count, Since: pl.since})
		}
	}
	if len(s.Holding) > maxHolding {
		slices.SortFunc(s.Holding, func(a, b Holding) int {
			return cmp.Or(cmp.Compare(b.Pending, a.Pending), cmp.Compare(a.Category, b.Category))
		})
		for _, h := range s.Holding[maxHolding:] {
			s.More.Categories++
			s.More.Pending += h.Pending
		}
		s.Holding = slices.Clone(s.Holding[:maxHolding])
	}
	slices.SortFunc(s.Holding, func(a, b Holding) int { return cmp.Compare(a.Category, b.Category) })
	return s
}

// stucks names the handlers that are stuck now.
func (in *Instance) stucks(now time.Time) (all []Stuck) {
	for _, out := range in.out {
		if in.isStuck(out, now) {
			all = append(all, Stuck{ID: out.id, Kind: out.lane.head().Kind, Device: out.device, Started: out.started})
		}
	}
	return all
}

// ring keeps the last events that ended.
type ring struct {
	items [32]Recent
	next  int
}

func (r *ring) add(item Recent) {
	r.items[r.next%len(r.items)] = item
	r.next++
}

func (r *ring) newestFirst() []Recent {
	var all []Recent
	for i := r.next - 1; i >= 0 && i >= r.next-len(r.items); i-- {
		all = append(all, r.items[i%len(r.items)])
	}
	return all
}
