package dispatch

import (
	"container/heap"
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/turns"
	"balhost/sdk/wire"
)

// Limits of what is handed out at once.
const (
	maxBytes      = 4 << 20 // of bodies that a process holds; HTTP/2's windows alone would let the host buffer more
	maxCommitting = 1024    // results of one process on their way to disk
	stuckGrace    = 5 * time.Second
	extendEvery   = 30 * time.Second // three times what the wire asks for
	askAgain      = 10 * time.Second // for a process to try suspects in
)

// kinds is the weight of the kinds: who comes next when all have lanes ready.
var kinds = [...]entry.Kind{entry.Upstream, entry.Upstream, entry.Outcome, entry.Upstream, entry.Upstream, entry.Outcome, entry.Receipt}

// queue makes a lane with an idle head eligible: now, when it is due, or as a
// suspect.
func (p *plugin) queue(l *lane) {
	head := l.head()
	l.since = time.Now()
	switch {
	case p.suspectAfter > 0 && p.crashes[head.Seq] >= p.suspectAfter:
		p.trials.push(l)
	case !head.Due.IsZero() && head.Due.After(l.since):
		heap.Push(&p.due, l)
	default:
		p.eligible(l)
	}
}

// eligible lets a lane's head go out when its turn comes.
func (p *plugin) eligible(l *lane) {
	if l.loss != nil {
		p.losers.push(l)
	} else {
		p.ready[l.head().Kind].push(l)
	}
}

// wake moves lanes whose time has come to the ready queues.
func (p *plugin) wake(now time.Time) {
	for {
		l, ok := p.due.popDue(now)
		if !ok {
			return
		}
		l.since = now
		p.eligible(l)
	}
}

// nextDue is when wake has something to do next.
func (p *plugin) nextDue() (time.Time, bool) {
	if len(p.due) == 0 {
		return time.Time{}, false
	}
	return p.due[0].head().Due, true
}

// pick takes the lane whose head goes out next, nil for none. The kinds take
// weighted turns; at most half of the credit goes to outcomes and receipts, so
// that upstreams always move.
func (p *plugin) pick(in *Instance) *lane {
	for i := range kinds {
		turn := (p.turn + i) % len(kinds)
		kind := kinds[turn]
		if p.ready[kind].len() == 0 || kind != entry.Upstream && in.outOther > 0 && in.outOther >= in.credit/2 {
			continue
		}
		p.turn = turn + 1
		return p.ready[kind].pop()
	}
	return nil
}

// fill hands out what the credit of the serving process allows.
func (d *Dispatcher) fill(p *plugin, now time.Time) {
	if d.settled && !p.paused {
		d.try(p, now)
	}
	if !d.open(p) {
		p.withdraw()
		return
	}
	in := p.serving
	d.enlist(p, in)
	d.pass(p, now)
	var frame *wire.HostFrame
	for len(in.out)+len(p.enlisted) < in.credit && in.outBytes < maxBytes && in.committing < maxCommitting {
		l := p.pick(in)
		if l == nil {
			break
		}
		frame = d.handOut(in, l, nil, now, frame)
	}
	if frame != nil {
		in.process.Send(frame)
	}
}

// open reports whether events can go to the serving process now, as far as its
// credit allows.
func (d *Dispatcher) open(p *plugin) bool {
	return d.settled && !p.paused && p.serving != nil && p.serving.trial == nil && !(p.serving.Alone && p.trials.len() > 0)
}

// try hands suspects out, one at a time: to a second process that holds nothing
// else, or, for a plugin that can't run twice, to its only one when that holds
// nothing.
func (d *Dispatcher) try(p *plugin, now time.Time) {
	in := p.trier
	if p.serving != nil && p.serving.Alone {
		in = p.serving
	}
	switch {
	case p.trials.len() == 0:
		if p.trier != nil && !p.trier.busy() {
			p.trier.process.Retire()
			p.trier = nil
		}
	case in == nil:
		if p.serving != nil && now.Sub(p.triedAt) >= askAgain {
			p.triedAt = now
			p.serving.process.StartTrier()
		}
	case len(in.out) == 0:
		if frame := d.handOut(in, p.trials.pop(), nil, now, nil); frame != nil {
			in.trial = in.out[d.lease] // the newest
			in.process.Send(frame)
		}
	}
}

// handOut adds the head of l to frame, which it makes if it is nil. run has the
// keys that it claimed; nil: none.
func (d *Dispatcher) handOut(in *Instance, l *lane, run *turns.Run, now time.Time, frame *wire.HostFrame) *wire.HostFrame {
	p, head := in.of, l.head()
	if !in.hears(head.Kind) {
		p.turns.End(run)
		l.busy, d.busy[head.Seq] = true, true
		d.commit(in, &ending{lane: l, Settlement: entry.Settlement{Seq: head.Seq, Verdict: entry.Done, Plugin: p.name}})
		return frame
	}
	body, err := d.o.Ledger.Body(head.Seq)
	if errors.Is(err, entry.ErrUnknown) {
		d.log.Error("event is not in the ledger any more, its lane goes on without it", "seq", head.Seq, "plugin", p.name)
		p.turns.End(run)
		d.advance(p, l)
		return frame
	}
	if err != nil {
		d.log.Error("event cannot be read, its lane waits a minute", "seq", head.Seq, "plugin", p.name, "err", err)
		p.turns.End(run)
		head.Due = now.Add(time.Minute)
		p.queue(l)
		return frame
	}
	d.lease++
	out := &delivery{number: d.lease, lane: l, bytes: size(body), started: now, extended: now, run: run}
	out.id, out.device = about(body)
	l.busy, d.busy[head.Seq] = true, true
	p.waits.Observe(now.Sub(l.since).Seconds())
	in.out[out.number] = out
	in.outBytes += out.bytes
	if head.Kind != entry.Upstream {
		in.outOther++
	}
	d.o.Ledger.Lease(head.Seq, out.number)
	if frame == nil {
		frame = &wire.HostFrame{}
	}
	frame.Deliver = append(frame.Deliver, d.encode(body, out.number, head.Attempts+1, in.HandlerTimeout))
	return frame
}

// hears reports whether the process has a handler for kind.
func (in *Instance) hears(kind entry.Kind) bool {
	switch kind {
	case entry.Outcome:
		return in.Outcome
	case entry.Receipt:
		return in.Receipt
	}
	return true
}

// take removes a delivery from what is out.
func (in *Instance) take(number uint64) (*delivery, bool) {
	out, ok := in.out[number]
	if !ok {
		return nil, false
	}
	delete(in.out, number)
	in.outBytes -= out.bytes
	if out.lane.head().Kind != entry.Upstream {
		in.outOther--
	}
	if in.trial == out {
		in.trial = nil
	}
	return out, true
}

// watch looks for handlers whose time is up: their contexts end, and when those
// that go on all the same fill a quarter of the credit, the process is hung.
func (d *Dispatcher) watch(now time.Time) {
	for _, p := range d.plugins {
		p.measure(now)
		if p.unread != nil {
			d.readPause(p)
		}
		p.turns.Tidy(now)
		stuck := 0
		for in := range p.instances {
			if !in.dead {
				d.watchOver(in, now)
				stuck += in.stuck
			}
		}
		if p.measured {
			p.stucks.Set(float64(stuck))
		}
	}
}

// measure follows the rate of the last seconds, the latest one weighing a third.
func (p *plugin) measure(now time.Time) {
	if took := now.Sub(p.rated).Seconds(); took > 0 && !p.rated.IsZero() {
		p.rate += (float64(p.handled-p.ratedAt)/took - p.rate) / 3
	}
	p.rated, p.ratedAt = now, p.handled
}

// isStuck reports whether a handler went on after its time was up, or says nothing.
func (in *Instance) isStuck(out *delivery, now time.Time) bool {
	return now.Sub(out.started) > in.HandlerTimeout+stuckGrace || now.Sub(out.extended) > extendEvery
}

// watchOver is watch for one process.
func (d *Dispatcher) watchOver(in *Instance, now time.Time) {
	in.stuck, in.ended = 0, 0
	var revoke []uint64
	for number, out := range in.out {
		if now.Sub(out.started) > in.HandlerTimeout && !out.revoked {
			out.revoked = true
			revoke = append(revoke, number)
		}
		if now.Sub(out.started) > in.HandlerTimeout+stuckGrace {
			in.of.turns.End(out.run) // it keeps its lane waiting, and no other
			out.run = nil
		}
		if in.isStuck(out, now) {
			in.stuck++
			if out.lane.ended {
				in.ended++
			}
			d.hangs(in.of, out, now)
		}
	}
	if revoke != nil {
		in.process.Send(&wire.HostFrame{Revoke: revoke})
	}
	full := in.stuck >= max(1, in.credit/4)
	blocks := in.stuck == len(in.out) && (in.trial != nil || in.Alone && in.of.trials.len() > 0) // suspects behind it
	if in.stuck > 0 && (full || blocks) {
		in.process.Kill(fmt.Sprintf("hung: %d of its handlers went on for %s after their time was up", in.stuck, stuckGrace))
	}
}

// hangs says that a handler is stuck: each once, and one of a plugin in sayEvery.
func (d *Dispatcher) hangs(p *plugin, out *delivery, now time.Time) {
	if out.told {
		return
	}
	out.told = true
	if now.Sub(p.hungAt) < sayEvery {
		p.hungUnsaid++
		return
	}
	head := out.lane.head()
	d.log.Warn("a handler goes on after its time is up, and its lane waits", append(d.letter(head.Seq),
		"plugin", p.name, "lane", d.laneName(p, out.lane), "seq", head.Seq, "attempt", head.Attempts+1,
		"took", now.Sub(out.started).Round(time.Second), "unsaid", p.hungUnsaid)...)
	p.hungAt, p.hungUnsaid = now, 0
}
