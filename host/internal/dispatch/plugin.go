package dispatch

import (
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/route"
	"balhost/sdk/wire"
)

// Limits of what is handed out at once.
const (
	maxBytes      = 4 << 20 // of bodies that a plugin holds; HTTP/2's windows alone would let the host buffer more
	maxCommitting = 1024    // results of one plugin on their way to disk
	stuckGrace    = 5 * time.Second
	extendEvery   = 30 * time.Second // three times what the wire asks for
)

// turns is the weight of the kinds: who comes next when all have lanes ready.
var turns = [...]entry.Kind{entry.Upstream, entry.Upstream, entry.Outcome, entry.Upstream, entry.Upstream, entry.Outcome, entry.Receipt}

// plugin is what dispatch knows of one plugin. It outlives its processes.
type plugin struct {
	*Plugin                   // the process of today, or the last one; nil before the first
	name      string          // of the plugin, with or without a process
	described bool            // its claims count
	up        bool            // between Ready and Gone: it takes events
	successor *Plugin         // ready, but results of the one before are still being committed
	credit    int             // MaxInFlight, or less if the plugin asks for less
	finished  bool            // it said drained
	drains    []chan struct{} // Drain waits: closed when nothing is out or being committed, and finished

	order   route.Order       // that the lanes were made by
	laned   bool              // before the first Ready there are no lanes
	waiting fifo[entry.Event] // not in lanes
	lanes   map[laneKey]*lane // shared ones with events
	ready   [4]fifo[*lane]    // by the kind of their heads, in the order they became ready
	due     dueHeap           // lanes whose heads wait for a time
	trials  fifo[*lane]       // lanes whose heads are suspects
	turn    int               // in turns, where next begins

	out        map[uint64]*delivery // handed out, no result yet
	outBytes   int                  // of their bodies
	outOther   int                  // of them, outcomes and receipts
	trial      *delivery            // a suspect, handed out alone
	crashes    map[uint64]int       // by seq: deaths of the process while it held this event
	committing int                  // results on their way to disk
	stuck      int                  // counted by watch

	pending                int
	handled, retried, died uint64
}

// delivery is one handing out of one event.
type delivery struct {
	number   uint64 // also the lease
	lane     *lane
	bytes    int
	started  time.Time
	extended time.Time
	revoked  bool
}

// plugin finds or makes the entry for name.
func (d *Dispatcher) plugin(name string) *plugin {
	p := d.plugins[name]
	if p == nil {
		p = &plugin{name: name, lanes: map[laneKey]*lane{}, out: map[uint64]*delivery{}, crashes: map[uint64]int{}}
		d.plugins[name] = p
	}
	return p
}

func (d *Dispatcher) described(r *Plugin) {
	p := d.plugin(r.Name)
	p.Plugin, p.described, p.finished, p.drains, p.credit = r, true, false, nil, r.MaxInFlight
	d.retable()
}

func (d *Dispatcher) ready(r *Plugin) {
	p := d.plugin(r.Name)
	if p.committing > 0 { // its lanes must not move under them
		p.successor = r
		return
	}
	p.up = true
	if !p.laned || p.order.String() != r.Order.String() {
		p.order, p.laned = r.Order, true
		d.resort(p)
	}
}

// queue makes a lane with an idle head eligible: now, when it is due, or alone.
func (p *plugin) queue(l *lane) {
	head := l.head()
	switch {
	case p.SuspectAfter > 0 && p.crashes[head.Seq] >= p.SuspectAfter:
		p.trials.push(l)
	case !head.Due.IsZero() && head.Due.After(time.Now()):
		heap.Push(&p.due, l)
	default:
		p.ready[head.Kind].push(l)
	}
}

// wake moves lanes whose time has come to the ready queues.
func (p *plugin) wake(now time.Time) {
	for {
		l, ok := p.due.popDue(now)
		if !ok {
			return
		}
		p.ready[l.head().Kind].push(l)
	}
}

// nextDue is when wake has something to do next.
func (p *plugin) nextDue() (time.Time, bool) {
	if len(p.due) == 0 {
		return time.Time{}, false
	}
	return p.due[0].head().Due, true
}

// next takes the lane whose head goes out next, nil for none. The kinds take
// weighted turns; at most half of the credit goes to outcomes and receipts, so
// that upstreams always move.
func (p *plugin) next() *lane {
	for i := range turns {
		turn := (p.turn + i) % len(turns)
		kind := turns[turn]
		if p.ready[kind].len() == 0 || kind != entry.Upstream && p.outOther > 0 && p.outOther >= p.credit/2 {
			continue
		}
		p.turn = turn + 1
		return p.ready[kind].pop()
	}
	return nil
}

// fill hands out what the plugin's credit allows.
func (d *Dispatcher) fill(p *plugin, now time.Time) {
	if !d.settled || !p.up || p.drains != nil || p.trial != nil {
		return
	}
	if p.trials.len() > 0 { // suspects go first, each alone
		if len(p.out) == 0 {
			l := p.trials.pop()
			if frame := d.handOut(p, l, now, nil); frame != nil {
				p.trial = p.out[d.lease] // the newest
				p.Process.Send(frame)
			}
		}
		return
	}
	var frame *wire.HostFrame
	for len(p.out) < p.credit && p.outBytes < maxBytes && p.committing < maxCommitting {
		l := p.next()
		if l == nil {
			break
		}
		frame = d.handOut(p, l, now, frame)
	}
	if frame != nil {
		p.Process.Send(frame)
	}
}

// handOut adds the head of l to frame, which it makes if it is nil.
func (d *Dispatcher) handOut(p *plugin, l *lane, now time.Time, frame *wire.HostFrame) *wire.HostFrame {
	head := l.head()
	if !p.hears(head.Kind) {
		l.busy = true
		d.commit(p, l, entry.Settlement{Seq: head.Seq, Verdict: entry.Done, Plugin: p.name})
		return frame
	}
	body, err := d.o.Ledger.Body(head.Seq)
	if err != nil {
		d.log.Error("event cannot be read, its lane waits a minute", "seq", head.Seq, "plugin", p.name, "err", err)
		head.Due = now.Add(time.Minute)
		p.queue(l)
		return frame
	}
	d.lease++
	out := &delivery{number: d.lease, lane: l, started: now, extended: now}
	message := encode(body, out.number, head.Attempts+1, p.HandlerTimeout)
	out.bytes = size(body)
	l.busy = true
	p.out[out.number] = out
	p.outBytes += out.bytes
	if head.Kind != entry.Upstream {
		p.outOther++
	}
	d.o.Ledger.Lease(head.Seq, out.number)
	if frame == nil {
		frame = &wire.HostFrame{}
	}
	frame.Deliver = append(frame.Deliver, message)
	return frame
}

// hears reports whether the plugin has a handler for kind.
func (p *plugin) hears(kind entry.Kind) bool {
	switch kind {
	case entry.Outcome:
		return p.Outcome
	case entry.Receipt:
		return p.Receipt
	}
	return true
}

// take removes a delivery from what is out.
func (p *plugin) take(number uint64) (*delivery, bool) {
	out, ok := p.out[number]
	if !ok {
		return nil, false
	}
	delete(p.out, number)
	p.outBytes -= out.bytes
	if out.lane.head().Kind != entry.Upstream {
		p.outOther--
	}
	if p.trial == out {
		p.trial = nil
	}
	return out, true
}

// release makes a lane's head, which was handed out, eligible again without counting an attempt.
func (d *Dispatcher) release(p *plugin, l *lane) {
	d.o.Ledger.Lease(l.head().Seq, 0)
	d.again(p, l)
}

// again queues a lane whose head stays pending, at its owner of today.
func (d *Dispatcher) again(p *plugin, l *lane) {
	l.busy = false
	p.queue(l)
	if head := l.head(); head.Plugin == "" && d.table.Owner(head.Category) != p.name {
		d.resort(p)
	}
}

// gone takes back what the dead process held. An event that was in flight too
// often is a suspect; one that killed its plugin when it was alone is dead.
func (d *Dispatcher) gone(r *Plugin, reason string) {
	p := d.plugin(r.Name)
	if p.Plugin != r {
		return
	}
	p.up, p.successor, p.finished = false, nil, true
	trial := p.trial
	for _, number := range slices.Sorted(maps.Keys(p.out)) { // ready again in the order they were handed out
		out, _ := p.take(number)
		seq := out.lane.head().Seq
		p.crashes[seq]++
		if out == trial {
			d.commit(p, out.lane, entry.Settlement{
				Seq: seq, Lease: out.number, Verdict: entry.Dead, Plugin: p.name,
				Reason: fmt.Sprintf("the plugin died %d times while it handled this event, the last time alone: %s", p.crashes[seq], reason),
			})
			continue
		}
		d.release(p, out.lane)
	}
	p.checkDrained()
}

// removed forgets the plugin's claim; its events stay and wait for it.
func (d *Dispatcher) removed(name string) {
	d.plugin(name).described = false
	d.retable()
}

func (d *Dispatcher) drain(r *Plugin, timeout time.Duration, empty chan struct{}) {
	p := d.plugin(r.Name)
	if p.Plugin != r {
		close(empty)
		return
	}
	p.drains = append(p.drains, empty)
	p.Process.Send(&wire.HostFrame{Drain: &wire.Drain{Reason: "the host stops this process", TimeoutMs: uint32(timeout.Milliseconds())}})
	p.checkDrained()
}

// checkDrained answers Drain when nothing is out or being committed and the
// plugin has said drained.
func (p *plugin) checkDrained() {
	if len(p.out) > 0 || p.committing > 0 || !p.finished {
		return
	}
	for i, empty := range p.drains {
		if empty != nil {
			close(empty)
			p.drains[i] = nil // but the list stays: no more events for this process
		}
	}
}

// watch looks for handlers whose time is up: their contexts end, and when those
// that go on all the same fill a quarter of the credit, the plugin is hung.
func (d *Dispatcher) watch(now time.Time) {
	for _, p := range d.plugins {
		p.stuck = 0
		if !p.up {
			continue
		}
		var revoke []uint64
		for number, out := range p.out {
			if now.Sub(out.started) > p.HandlerTimeout && !out.revoked {
				out.revoked = true
				revoke = append(revoke, number)
			}
			if now.Sub(out.started) > p.HandlerTimeout+stuckGrace || now.Sub(out.extended) > extendEvery {
				p.stuck++
			}
		}
		if revoke != nil {
			p.Process.Send(&wire.HostFrame{Revoke: revoke})
		}
		full := p.stuck >= max(1, p.credit/4)
		blocked := p.trials.len() > 0 && p.stuck == len(p.out)
		if p.stuck > 0 && (full || blocked || p.trial != nil) {
			p.Process.Kill(fmt.Sprintf("hung: %d of its handlers went on for %s after their time was up", p.stuck, stuckGrace))
		}
	}
}

// commit sends the end of a handing out to the ledger; committed hears of it.
func (d *Dispatcher) commit(p *plugin, l *lane, s entry.Settlement) {
	p.committing++
	d.o.Ledger.Settle(s, func(err error) {
		d.box.put(func(d *Dispatcher) { d.committed(p, l, s, err) })
	})
}

// committed moves the lane on after a commit.
func (d *Dispatcher) committed(p *plugin, l *lane, s entry.Settlement, err error) {
	p.committing--
	switch {
	case errors.Is(err, entry.ErrClosed):
		return // the process is about to end; the event is pending in the ledger
	case errors.Is(err, entry.ErrConflict): // P7: the handler runs again, no attempt counted
		d.o.Ledger.Lease(s.Seq, 0)
		d.again(p, l)
	case errors.Is(err, entry.ErrLease), errors.Is(err, entry.ErrUnknown):
		d.log.Error("end of an event refused", "plugin", p.name, "seq", s.Seq, "err", err)
		d.advance(p, l)
	case err != nil: // what it wanted to commit can't be: the handler's fault
		d.retry(p, l, s.Lease, 0, err.Error())
	case s.Verdict == entry.Retry:
		d.note(p, l.head(), s.Verdict)
		d.o.Ledger.Lease(s.Seq, 0)
		l.head().Attempts++
		l.head().Due = s.Due
		d.again(p, l)
	default:
		d.note(p, l.head(), s.Verdict)
		d.advance(p, l)
	}
	if p.committing == 0 && p.successor != nil {
		next := p.successor
		p.successor = nil
		d.ready(next)
	}
	p.checkDrained()
}

// advance takes the settled head off its lane.
func (d *Dispatcher) advance(p *plugin, l *lane) {
	delete(p.crashes, l.head().Seq)
	l.events.pop()
	l.busy = false
	p.pending--
	switch {
	case l.events.len() > 0:
		d.again(p, l)
	case l.shared:
		delete(p.lanes, l.key)
	}
}

// retry has the head wait for another attempt, or die when it had enough.
// after is the wait that the handler asked for, 0 or less for the usual one.
func (d *Dispatcher) retry(p *plugin, l *lane, lease uint64, after time.Duration, reason string) {
	head := l.head()
	s := entry.Settlement{Seq: head.Seq, Lease: lease, Plugin: p.name, Reason: reason}
	attempt := head.Attempts + 1
	if p.MaxAttempts > 0 && attempt >= p.MaxAttempts {
		s.Verdict = entry.Dead
	} else {
		s.Verdict = entry.Retry
		if after <= 0 {
			after = d.o.Retry.DelayAtLeast(attempt, d.rnd)
		}
		s.Due = time.Now().Add(after)
	}
	d.commit(p, l, s)
}

// note counts the end of a handing out.
func (d *Dispatcher) note(p *plugin, e *entry.Event, v entry.Verdict) {
	end := ""
	switch v {
	case entry.Done:
		end = "handled"
		p.handled++
	case entry.Retry:
		end = "retried"
		p.retried++
	case entry.Dead:
		end = "dead"
		p.died++
	}
	d.metrics.ends.WithLabelValues(p.name, e.Kind.String(), end).Inc()
	d.recent.add(Recent{At: time.Now(), Plugin: p.name, Kind: e.Kind, End: end, Category: e.Category, Seq: e.Seq})
}
