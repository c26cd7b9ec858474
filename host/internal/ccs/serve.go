package ccs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/flow"
	"balhost/host/internal/xmpp"
	"balhost/sdk/message"
)

const (
	// burst is how many downstreams are written before acks are looked for again,
	// so that none waits behind a whole window (ccs-protocol.md §5 rule 3).
	burst = 16
	// maxAck is the longest ack that is written. Servers limit the size of a stanza,
	// the simulator's limit is 64 KiB (ccs-protocol.md §2 rule 6).
	maxAck = 60 << 10
	// keepBuffer is how much memory the writer keeps between steps.
	keepBuffer = 256 << 10
)

// writer is the state of serve. Only that goroutine uses it, so it has no lock.
type writer struct {
	*conn
	w       *wire
	win     *flow.Window
	mail    mail
	out     []byte // what this step writes
	json    []byte
	going   *departure // nil in Ready
	room    <-chan struct{}
	pinged  time.Time // when the last ping went out
	ping    bool      // and no stanza has come since
	pings   int
	unnamed []unnamed // refusals that may be of several
	lastAck time.Time // when the last acks went out
	ended   time.Time // when the reader ended
	heldUp  time.Time // when the reader last waited for space in the box: answers may have come unread
}

// serve is Ready and Draining; being asked to stop is Draining too. Each step does
// what is allowed now and writes it at once. Then serve waits for a reason to do
// another one.
func (c *conn) serve(ctx context.Context, w *wire, win *flow.Window) error {
	v := &writer{conn: c, w: w, win: win, pinged: time.Now()}
	tick := time.NewTicker(c.s.o.tick())
	defer tick.Stop()
	stop := ctx.Done()
	defer context.AfterFunc(ctx, func() { w.hasten(time.Now().Add(c.s.o.Stop)) })() // a write to a peer that reads nothing ends, too
	for {
		if stop != nil && ctx.Err() != nil {
			stop = nil
			v.depart("stopping", departure{until: v.in(c.s.o.Stop), hangUp: true, ours: true})
		}
		changed := c.s.o.Outbox.Changed(c.s.o.SenderID) // before looking, so that no change is missed
		c.box.empty(&v.mail)
		more, err := v.step(time.Now())
		switch {
		case errors.Is(err, errOver):
			return nil
		case err != nil:
			return err
		case more:
			continue
		case v.going != nil || win.Room() == 0:
			changed = nil
		}
		select {
		case <-changed:
		case <-c.box.hint:
		case <-tick.C:
		case <-v.room:
			v.room = nil
			v.depart("there is room again", departure{until: v.in(c.s.o.Grace), hangUp: true, ours: true})
		case <-stop:
		}
	}
}

// step handles what came, and writes what is due. It reports whether there is more
// to write.
func (v *writer) step(now time.Time) (more bool, err error) {
	v.out = v.out[:0]
	v.answered(now)
	if err := v.mail.ended; err != nil {
		return false, v.farewell(err, now)
	}
	if err := v.acks(); err != nil {
		return false, err
	}
	for _, q := range v.mail.asked {
		if q.ping {
			v.out = xmpp.AppendIQResult(v.out, q.id, q.from)
		} else {
			v.out = xmpp.AppendIQError(v.out, q.id, q.from)
		}
	}
	v.watch(now)
	more = v.fill(now)
	if err := v.flush(); err != nil {
		return false, err
	}
	if v.over(now) {
		v.hangUp()
		return false, errOver
	}
	return more, nil
}

// answered takes what CCS has answered out of the window, and tells the outbox.
func (v *writer) answered(now time.Time) {
	o := &v.s.o
	for _, a := range v.mail.answers {
		if a.nack && a.code == fcm.ConnectionDraining { // a drain may be noticed by a nack first
			v.mail.drain = true
		}
		switch {
		case v.resolve(a, now):
		case v.hold(a, now):
			if v.attribute(now); len(v.unnamed) > 0 {
				v.tell(a, now)
			}
		case a.rejection != nil: // mostly 406: an ack that CCS does not want here
			v.s.odd(stanzaError, a.rejection.Error())
		case a.id == "":
			v.s.remember(now, a.echo.to, "", "a refusal of nothing in flight: "+a.reason())
			v.s.odd(unusablePayload, a.reason())
		default:
			v.s.odd(lateAnswer, strconv.Quote(a.id))
		}
	}
	v.attribute(now)
	v.inFlight.Store(int64(o.Window - v.win.Room()))
	if v.mail.drain {
		v.depart("asked by CCS", departure{until: v.in(o.Drain)})
	}
	if v.mail.hurry {
		v.depart("its place is needed", departure{until: v.in(o.Grace), hangUp: true, ours: true})
	}
}

// resolve takes the downstream that a answers out of the window, and tells the
// outbox. It reports false when none in flight is meant.
func (v *writer) resolve(a answer, now time.Time) bool {
	o := &v.s.o
	seq, since, ok := v.win.Answer(a.id)
	if !ok && a.echo.id != "" {
		seq, since, ok = v.win.Answer(a.echo.id)
	}
	if !ok {
		return false
	}
	v.useful = true
	v.s.metrics.answer.Observe(now.Sub(since).Seconds())
	if a.nack || a.rejection != nil {
		v.s.counts.nacked.Add(1)
	} else {
		v.s.counts.acked.Add(1)
	}
	o.Outbox.Answered(o.SenderID, seq, a.judged())
	return true
}

// acks appends an ack for each upstream that is stored by now (P1), and handles
// what could not be stored.
func (v *writer) acks() error {
	kept := v.mail.acks[:0]
	for _, a := range v.mail.acks {
		v.json = fcm.AppendAck(v.json[:0], a.to, a.id)
		out, err := xmpp.AppendMessage(v.out, "", v.json)
		if err == nil && len(out)-len(v.out) > maxAck {
			err = fmt.Errorf("its ack would have %d bytes", len(out)-len(v.out))
		}
		if err != nil { // CCS would end the stream because of it
			v.hole(a.to, a.id, err.Error())
			v.s.odd(tooLarge, fmt.Sprintf("message id %q of %q: %v", short(a.id.Text), short(a.to.Text), err))
			continue
		}
		v.out = out
		kept = append(kept, a)
	}
	if holes := len(v.mail.acks) - len(kept) + len(v.mail.tooBig); holes > 0 {
		v.box.wrote(holes)
	}
	v.mail.acks = kept
	for _, a := range v.mail.tooBig {
		v.hole(a.to, a.id, entry.ErrTooLarge.Error()+"; not stored")
		v.s.odd(tooLarge, fmt.Sprintf("upstream %q of %q: %v", short(a.id.Text), short(a.to.Text), entry.ErrTooLarge))
	}
	switch {
	case v.mail.notStored == nil || v.going != nil || v.room != nil:
		return nil
	case errors.Is(v.mail.notStored, entry.ErrFull):
		v.s.said.Log(v.s.o.Log.Warn, "upstreams are not stored and not acked", "conn", v.number, "err", v.mail.notStored)
		v.room = v.s.o.Inbox.Room()
		return nil
	}
	return errStore{fmt.Errorf("store an upstream: %w", v.mail.notStored)}
}

// fill moves downstreams from the outbox to the wire, as many as the window has
// room for (P3).
func (v *writer) fill(now time.Time) (more bool) {
	n := min(v.win.Room(), burst)
	if v.going != nil || n == 0 {
		return false
	}
	o := &v.s.o
	taken := o.Outbox.Take(o.SenderID, v.number, n)
	for _, g := range taken {
		if err := g.Message.Fits(message.CCS); err != nil { // the session had another transport when it was accepted
			o.Outbox.Answered(o.SenderID, g.Seq, flow.Answer{Verdict: flow.Fail, Code: CodeUnsupported, Description: err.Error()})
			continue
		}
		if err := v.append(g); err != nil { // then out has nothing of it
			o.Outbox.Answered(o.SenderID, g.Seq, flow.Answer{Verdict: flow.Fail, Code: CodeStanza, Description: err.Error()})
			continue
		}
		v.win.Add(g.Message.MessageID, target(g.Message.To), g.Seq, now)
		v.s.counts.downstreams.Add(1)
	}
	v.inFlight.Store(int64(o.Window - v.win.Room()))
	return len(taken) == n && v.win.Room() > 0
}

// target is the downstream's target as CCS repeats it: in the "from" of a nack, and
// in the "to" of a payload that it returns (ccs-protocol.md §4).
func target(t message.Target) string {
	if t.Topic != "" {
		return "/topics/" + t.Topic
	}
	return cmp.Or(t.Token, t.Condition)
}

// append writes one downstream. Its stanza has the message's id, by which a stanza
// error frees its slot too (ccs-protocol.md §4.2).
func (v *writer) append(g entry.Outgoing) error {
	v.json = fcm.AppendDownstream(v.json[:0], g.Message, g.TTL)
	var err error
	v.out, err = xmpp.AppendMessage(v.out, g.Message.MessageID, v.json)
	return err
}

// flush writes what this step has to write in one piece, and counts the acks in it.
func (v *writer) flush() error {
	if len(v.out) == 0 {
		return nil
	}
	if _, err := v.w.Write(v.out); err != nil {
		return fmt.Errorf("write to CCS: %w", err)
	}
	if cap(v.out) > keepBuffer {
		v.out = nil
	}
	if len(v.mail.acks) > 0 {
		v.useful = true
		v.box.wrote(len(v.mail.acks))
		v.lastAck = time.Now()
		v.s.acked(v.number, v.mail.acks)
		v.mail.acks = v.mail.acks[:0]
	}
	return nil
}
