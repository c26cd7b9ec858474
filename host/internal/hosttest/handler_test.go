package hosttest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"balhost/sdk/wire"
)

// plugin makes one of the simulation's plugins. Its handlers write all that
// they do into the plugin's state, so that the ledger itself is the book of
// what was committed.
func (w *world) plugin(name string, categories []string, order string) *Plugin {
	r := w.rnd
	if chance(r, 15) {
		order = "none"
	}
	p := &Plugin{
		Name: name, Categories: categories, Order: order, Outcome: true, Receipt: true, Timer: true,
		MaxAttempts: []int{0, 3, 6}[r.IntN(3)], HandlerTimeout: 2 * time.Second, MaxInFlight: 1 + r.IntN(12),
		SuspectAfter: []int{0, 1, 2, 3}[r.IntN(4)], Alone: chance(r, 50), Restart: upTo(r, time.Second),
		Handle:    w.handle,
		Delivered: w.books.delivered,
		Answered:  w.books.answered,
		Exited:    w.books.exited,
	}
	p.Exiting = func(*Process) time.Duration {
		if w.calm.Load() {
			return 0
		}
		return upTo(w.books.rnd(), 300*time.Millisecond)
	}
	return p
}

// note is what a handler leaves in the state for each event that it handled.
type note struct {
	Event   string   `json:"event"`
	Key     string   `json:"key"`               // what the event is; see books.event
	Sends   []string `json:"sends,omitempty"`   // message ids
	Cancels []string `json:"cancels,omitempty"` // message ids of its plugin's, that were stored before
	Among   int      `json:"among,omitempty"`   // the notes of all loose keys, this one included, if it has listed them
}

// stateKey is where the note goes: events of one lane share a key, and events
// without a lane share a few, so that their commits collide (P7).
func stateKey(e *event) string {
	if e.lane != "" {
		return "lane/" + e.lane
	}
	return fmt.Sprint(loose, len(e.key)%3)
}

// loose is the prefix of the keys of events without a lane.
const loose = "loose/"

// sharedKey counts, over all lanes, some of the events.
const sharedKey = "shared"

// handle is every handler. The seed decides what it does.
func (w *world) handle(ctx context.Context, p *Process, d *wire.Delivery) *wire.Result {
	e, times := w.books.handling(d)
	r := w.roll(p.Plugin.Name, e.key, times)
	if w.kills(p, e) {
		p.Die("poisoned by " + e.key)
		<-ctx.Done()
		return nil
	}
	if w.calm.Load() {
		return w.work(ctx, p, d, e, r)
	}
	switch n := r.IntN(100); {
	case n < 70:
	case n < 78:
		wait := int64(-1)
		if chance(r, 50) {
			wait = r.Int64N(1000)
		}
		return &wire.Result{Code: wire.Result_RETRY, DelayMs: wait, Error: "not now"}
	case n < 80:
		return &wire.Result{Code: wire.Result_REJECT, Error: "never"}
	case n < 83:
		return &wire.Result{Code: wire.Result_RELEASE}
	case n < 86: // goes on past its time, then heeds it
		<-ctx.Done()
		return w.late(p)
	case n < 87: // never answers: the plugin is hung
		<-p.ctx.Done()
		return nil
	case n < 89:
		p.Die("by itself")
	}
	return w.work(ctx, p, d, e, r)
}

// kills reports whether the event kills its plugin, each time (suspects).
func (w *world) kills(p *Process, e *event) bool {
	return p.Plugin.SuspectAfter > 0 && e.kind == "upstream" && w.roll("kills", e.key).IntN(100) < 2
}

func (w *world) late(p *Process) *wire.Result {
	if !p.Alive() {
		return nil
	}
	return &wire.Result{Code: wire.Result_RETRY, DelayMs: -1, Error: "out of time"}
}

// work reads what it needs, takes its time, and has all changes committed
// with the event's end.
func (w *world) work(ctx context.Context, p *Process, d *wire.Delivery, e *event, r *rand.Rand) *wire.Result {
	key, turn := stateKey(e), d.GetDelivery()
	if chance(r, 20) {
		turn = 0 // a plugin that doesn't say for which delivery it asks
	}
	value, version, err := p.Get(turn, key)
	if err != nil {
		return w.late(p)
	}
	changes := &wire.Changes{Read: []*wire.Read{{Key: key, Version: version}}}
	mine := note{Event: e.id, Key: e.key}
	if e.kind == "upstream" {
		name := d.GetUpstream().GetSession()
		session := unlabel(name)
		if !w.books.knows(name) {
			w.books.wrong("%s comes from session %q, a name that this host has never been given", e.key, name)
		}
		for i := range r.IntN(4) {
			mid, to, name := fmt.Sprintf("%s-%d", e.id, i), session, name
			if w.fcm != nil && w.roll("to", mid).IntN(2) == 0 {
				to = fcmSender
				if name = label(p.Host(), to); name == "" {
					return w.late(p) // the host is stopping
				}
			}
			down, m := w.downstream(mid, p.Plugin.Name, to)
			checked, err := m.Checked()
			if err != nil {
				w.books.wrong("downstream: %v", err)
			}
			on := wire.DownstreamToProto(checked)
			on.Session = name
			w.books.offered(down, p.Host())
			changes.Send = append(changes.Send, on)
			mine.Sends = append(mine.Sends, mid)
		}
	}
	mine.Cancels = w.cancels(p.Plugin.Name, r, changes)
	if e.lane == "" && chance(r, 50) { // P7: no two notes can be the same one among all
		listed, list, err := p.List(turn, loose)
		if err != nil {
			return w.late(p)
		}
		changes.Range = append(changes.Range, list)
		mine.Among = 1
		for _, it := range listed {
			mine.Among += len(notes(it.GetValue()))
		}
	}
	changes.Write = append(changes.Write, &wire.Write{Key: key, Value: marshal(append(notes(value), mine))})
	if chance(r, w.hot) { // P7: a counter that other lanes want too
		value, version, err := p.Get(turn, sharedKey)
		if err != nil {
			return w.late(p)
		}
		changes.Read = append(changes.Read, &wire.Read{Key: sharedKey, Version: version})
		changes.Write = append(changes.Write, &wire.Write{Key: sharedKey, Value: marshal(append(notes(value), mine))})
	}
	if wait := []time.Duration{0, 0, 5 * time.Millisecond, 100 * time.Millisecond, time.Second}[r.IntN(5)]; wait > 0 && !w.calm.Load() {
		t := time.NewTimer(upTo(r, wait))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return w.late(p)
		}
	}
	if err := w.timers(p, d, e, r, changes); err != nil {
		return w.late(p)
	}
	if chance(r, 3) {
		changes.Read = append(changes.Read, &wire.Read{Key: "no such key", Version: 1}) // a conflict that time would not heal: only this attempt's
	}
	return &wire.Result{Code: wire.Result_DONE, Changes: changes}
}

func marshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of the test's own types
	}
	return b
}

// notes are those of a state key.
func notes(value []byte) []note {
	var all []note
	if len(value) > 0 {
		if err := json.Unmarshal(value, &all); err != nil {
			panic(fmt.Sprintf("state is not what a handler wrote: %q: %v", value, err))
		}
	}
	return slices.Clip(all)
}
