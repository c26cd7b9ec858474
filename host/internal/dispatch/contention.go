package dispatch

import (
	"slices"
	"sync"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/turns"
	"balhost/sdk/wire"
)

const (
	wholeAfter  = 4           // after this many losses a run gets the whole state for itself, because its keys can't be foreseen
	vainAfter   = 6           // after more losses nobody else can be the cause: it waits between runs, as an endless loop does
	getPatience = 10          // a Get waits for its turn for at most a tenth of the handler's time
	maxOutside  = 256         // a process's updates outside of events whose keys are kept for their next runs
	unnumbered  = time.Second // how long keys are kept for an update without a number
)

// watchlist holds the keys of a plugin's state, and the listed prefixes, for which a handler's
// Get or List waits for its turn. Run changes it. The goroutines that read the streams look into it.
type watchlist struct {
	mu   sync.RWMutex
	keys map[string]bool
}

func (w *watchlist) set(key string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on {
		w.keys[key] = true
	} else {
		delete(w.keys, key)
	}
}

func (w *watchlist) has(key string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.keys[key]
}

// watchlist returns a plugin's watchlist, and makes it if there is none. Any goroutine may call it.
func (d *Dispatcher) watchlist(name string) *watchlist {
	w, _ := d.watched.LoadOrStore(name, &watchlist{keys: map[string]bool{}})
	return w.(*watchlist)
}

// loss is about an event, or an update outside of events. It says how many of its runs
// ended in a conflict, and which keys they used.
type loss struct {
	times int
	keys  map[string]turns.Mode
}

func (l *loss) add(c entry.Changes) {
	l.times++
	if l.keys == nil {
		l.keys = map[string]turns.Mode{}
	}
	for key, mode := range modes(c) {
		l.keys[key] = max(l.keys[key], mode)
	}
}

// claim asks for the keys that the next run will use.
func (l *loss) claim(t *turns.Table, r *turns.Run, grant func()) *turns.Turn {
	if l.times >= wholeAfter {
		return t.ClaimAll(r, grant)
	}
	return t.Claim(r, l.keys, grant)
}

// wait is something that waits for a turn. When until comes, it goes on without one.
type wait struct {
	until time.Time
	over  func() bool // reports that it need not wait any more
	goOn  func()
	in    *Instance
	call  uint64 // the call of in that waits, and that may be abandoned; 0: none
	drop  func() // ends the wait without going on; nil: it can't be abandoned
}

// waitFor notes that w waits for a turn.
func (p *plugin) waitFor(t *turns.Turn, w wait) {
	w.over = t.Over
	goOn, drop := w.goOn, w.drop
	w.goOn = func() { p.turns.Cancel(t); goOn() }
	if w.call != 0 {
		w.drop = func() {
			p.turns.Cancel(t)
			if drop != nil {
				drop()
			}
		}
	}
	p.waiters = append(p.waiters, &w)
}

// pass grants the turns whose keys have become free. What has waited too long goes on
// without a turn.
func (d *Dispatcher) pass(p *plugin, now time.Time) {
	if len(p.waiters) > 0 {
		due := p.waiters
		p.waiters = nil
		due = slices.DeleteFunc(due, func(w *wait) bool {
			if w.over() {
				return true
			}
			if now.Before(w.until) {
				return false
			}
			w.goOn()
			return true
		})
		p.waiters = append(due, p.waiters...)
	}
	for ready := p.turns.Ready(); len(ready) > 0; ready = p.turns.Ready() {
		for _, t := range ready {
			t.Grant()
		}
	}
}

// nextWait returns when the first wait is too long. Nothing else wakes Run at that time.
func (p *plugin) nextWait() (at time.Time, ok bool) {
	for _, w := range p.waiters {
		if !ok || w.until.Before(at) {
			at, ok = w.until, true
		}
	}
	return at, ok
}

// lost makes the head of a lane run again. That counts as no attempt (P7).
func (d *Dispatcher) lost(p *plugin, e *ending, err error) {
	l := e.lane
	if l.loss == nil {
		l.loss = &loss{}
	}
	l.loss.add(e.Changes)
	d.reran(p, l, e, err)
	if l.loss.times > vainAfter {
		d.loop(p, l)
		return
	}
	d.release(p, l)
}

// enlist lets lanes whose heads have lost ask for their keys, but only as many as the
// credit can hand out: whoever has keys that others wait for must be able to run.
func (d *Dispatcher) enlist(p *plugin, in *Instance) {
	p.turns.MaxGets = in.credit / 2
	for p.losers.len() > 0 && len(in.out)+len(p.enlisted) < in.credit && len(p.enlisted) < max(1, in.credit/4) {
		l, run := p.losers.pop(), &turns.Run{}
		var turn *turns.Turn
		turn = l.loss.claim(p.turns, run, func() { d.claimed(p, l, run, turn) })
		p.enlisted[l] = turn
	}
}

// claimed hands out a lane that has got its keys, unless it was withdrawn meanwhile.
func (d *Dispatcher) claimed(p *plugin, l *lane, run *turns.Run, turn *turns.Turn) {
	if p.enlisted[l] != turn {
		p.turns.End(run)
		return
	}
	delete(p.enlisted, l)
	if !d.open(p) {
		p.turns.End(run)
		p.losers.push(l)
		return
	}
	if frame := d.handOut(p.serving, l, run, time.Now(), nil); frame != nil {
		p.serving.process.Send(frame)
	}
}

// withdraw gives up the turns of lanes that can't go out now.
func (p *plugin) withdraw() {
	for l, turn := range p.enlisted {
		p.turns.Cancel(turn)
		p.losers.push(l)
	}
	clear(p.enlisted)
}

// lookInTurn answers a handler's Get of a watched key, or its List, when its turn has come.
func (d *Dispatcher) lookInTurn(in *Instance, c *wire.Call) {
	if in.dead {
		return
	}
	answer := func() { d.look(in, c) }
	out := in.out[c.GetDelivery()]
	if out == nil || !out.givenUp.IsZero() {
		answer()
		return
	}
	now, until := time.Now(), out.started.Add(in.HandlerTimeout/getPatience)
	if now.After(until) {
		answer()
		return
	}
	if out.run == nil {
		out.run = &turns.Run{}
	}
	if turn := in.of.turns.Get(out.run, looked(c), now, answer); turn != nil {
		in.of.waitFor(turn, wait{until: until, goOn: answer, in: in, call: c.GetId()})
	} else {
		answer()
	}
}
