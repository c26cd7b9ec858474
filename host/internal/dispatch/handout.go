package dispatch

import (
	"errors"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/turns"
	"balhost/sdk/wire"
)

// Limits of what is handed out at once.
const (
	maxBytes      = 4 << 20 // of bodies that a process holds; with HTTP/2's windows alone the host would buffer more
	maxCommitting = 1024    // results of one process on their way to disk
)

// fill hands the heads of lanes to the serving process, as far as its credit
// allows. All of them go in one frame. What comes back comes by Instance.Frame.
func (d *Dispatcher) fill(p *plugin, now time.Time) {
	if d.booted && !p.paused {
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
	return d.booted && !p.paused && p.serving != nil && p.serving.trial == nil && !(p.serving.Alone && p.trials.len() > 0)
}

// kinds is the weight of the kinds: the order in which they are picked while all
// have lanes ready.
var kinds = [...]entry.Kind{
	entry.Upstream, entry.Upstream, entry.Outcome, entry.Timer,
	entry.Upstream, entry.Upstream, entry.Outcome, entry.Timer, entry.Receipt,
}

// pick returns the lane whose head goes out next, nil for none. At most half of
// the credit goes to other events, so that upstreams always move.
func (p *plugin) pick(in *Instance) *lane {
	for i := range kinds {
		at := (p.nextKind + i) % len(kinds)
		kind := kinds[at]
		if p.ready[kind].len() == 0 || kind != entry.Upstream && in.outOther > 0 && in.outOther >= in.credit/2 {
			continue
		}
		p.nextKind = at + 1
		return p.ready[kind].pop()
	}
	return nil
}

// handOut adds the head of l to frame, which it makes if it is nil. run has the
// keys that the head has claimed; nil: none. From here on the lane is busy, until
// committed moves it on (P5).
func (d *Dispatcher) handOut(in *Instance, l *lane, run *turns.Run, now time.Time, frame *wire.HostFrame) *wire.HostFrame {
	p, head := in.of, l.head()
	body, err := d.o.Ledger.Body(head.Seq)
	if verdict := in.unheard(head.Kind, err); verdict != 0 {
		p.turns.End(run)
		l.busy, d.busy[head.Seq] = true, true
		d.commit(in, &ending{lane: l, about: about(body), Settlement: entry.Settlement{Seq: head.Seq, Verdict: verdict, Plugin: p.name}})
		return frame
	}
	if errors.Is(err, entry.ErrUnknown) {
		d.log.Info("event was erased, its lane goes on without it", "seq", head.Seq, "plugin", p.name)
		p.turns.End(run)
		d.notice(p, l)
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
	out.about, out.trace = about(body), d.attempting(&body, now)
	l.busy, d.busy[head.Seq] = true, true
	p.waits.Observe(now.Sub(l.since).Seconds())
	in.add(out)
	d.o.Ledger.Lease(head.Seq, out.number)
	if d.o.Feed.On() {
		d.o.Feed.Tell(handed(in, out, body))
	}
	if frame == nil {
		frame = &wire.HostFrame{}
	}
	frame.Deliver = append(frame.Deliver, d.encode(in, body, out, head.Attempts+1))
	return frame
}

// unheard is how an event ends that no handler gets; 0: one does. err is that of its body.
func (in *Instance) unheard(kind entry.Kind, err error) entry.Verdict {
	switch {
	case errors.Is(err, entry.ErrVoid):
		return entry.Void
	case !in.hears(kind):
		return entry.Done
	}
	return 0
}

// hears reports whether the process has a handler for kind.
func (in *Instance) hears(kind entry.Kind) bool {
	switch kind {
	case entry.Outcome:
		return in.Outcome
	case entry.Receipt:
		return in.Receipt
	case entry.Timer:
		return in.Timer
	}
	return true
}

// attempt is what people may know of a handing out, which took so long.
func (in *Instance) attempt(out *delivery, took time.Duration) entry.Attempt {
	return entry.Attempt{Began: out.started, Took: took, Version: in.Version}
}

// add notes a delivery that goes out.
func (in *Instance) add(out *delivery) {
	in.out[out.number] = out
	in.outBytes += out.bytes
	if out.lane.head().Kind != entry.Upstream {
		in.outOther++
	}
}

// remove undoes add; false when the delivery is not out.
func (in *Instance) remove(number uint64) (*delivery, bool) {
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

// encode makes the delivery of an event. A plugin knows sessions by their names.
func (d *Dispatcher) encode(in *Instance, b entry.Body, out *delivery, attempt int) *wire.Delivery {
	m := &wire.Delivery{Delivery: out.number, Attempt: uint32(attempt), Traceparent: d.traceparent(out)}
	if !in.Debug {
		m.TimeoutMs = uint32(in.HandlerTimeout.Milliseconds())
	}
	switch {
	case b.Upstream != nil:
		u := wire.UpstreamToProto(b.Upstream)
		u.Session = d.o.Senders().Name(u.Session)
		if !in.Offsets {
			u.SpellOut()
		}
		m.Event = &wire.Delivery_Upstream{Upstream: u}
	case b.Outcome != nil:
		o := wire.OutcomeToProto(b.Outcome)
		o.Session = d.o.Senders().Name(o.Session)
		m.Event = &wire.Delivery_Outcome{Outcome: o}
	case b.Receipt != nil:
		r := wire.ReceiptToProto(b.Receipt)
		r.Session = d.o.Senders().Name(r.Session)
		m.Event = &wire.Delivery_Receipt{Receipt: r}
	case b.Timer != nil:
		t := wire.TimerToProto(b.Timer)
		t.Session = d.o.Senders().Name(t.Session)
		m.Event = &wire.Delivery_Timer{Timer: t}
	}
	return m
}

// subject is what people know an event by.
type subject struct {
	id        string
	messageID string // the message's own; a timer's key
	device    string // its token; "" where there is none
}

// about says which event a body is, and of which device.
func about(b entry.Body) subject {
	switch {
	case b.Upstream != nil:
		return subject{b.Upstream.ID, b.Upstream.MessageID, b.Upstream.From}
	case b.Outcome != nil:
		return subject{b.Outcome.ID, b.Outcome.MessageID, b.Outcome.To.Token}
	case b.Receipt != nil:
		return subject{b.Receipt.ID, b.Receipt.OriginalMessageID, b.Receipt.Device}
	case b.Timer != nil:
		return subject{b.Timer.ID, b.Timer.Key, b.Timer.Device}
	}
	return subject{}
}

// size is about what a body takes of the plugin's memory.
func size(b entry.Body) int {
	const envelope = 256
	switch {
	case b.Upstream != nil:
		return envelope + len(b.Upstream.Raw) + len(b.Upstream.Data)
	case b.Outcome != nil:
		return envelope + len(b.Outcome.Context)
	case b.Timer != nil:
		return envelope + len(b.Timer.Data)
	}
	return envelope
}
