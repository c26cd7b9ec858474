package ccs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/flow"
	"balhost/host/internal/xmpp"
	"balhost/sdk/message"
)

const (
	// burst is how many downstreams are written between two looks at the box,
	// so that acks never wait behind a whole window (ccs-protocol.md §5 rule 3).
	burst = 16
	// closeWait is how long the peer has to answer our </stream:stream>.
	closeWait = time.Second
	// maxAck is the longest ack that is written: servers take no stanza of more
	// than some size, and 64 KiB is what the simulator takes (ccs-protocol.md §2 rule 6).
	maxAck = 60 << 10
	// keepBuffer is how much memory the writer keeps between turns.
	keepBuffer = 256 << 10
)

// writer is the state of serve: it belongs to that goroutine alone, so nothing
// in it has a lock.
type writer struct {
	*conn
	w       *wire
	win     *flow.Window
	mail    mail
	out     []byte // what this turn writes
	json    []byte
	going   *departure // nil in Ready
	room    <-chan struct{}
	pinged  time.Time // when the last ping went out
	ping    bool      // and nothing was heard since
	pings   int
	unnamed []unnamed // refusals that may be of several
	lastAck time.Time // when the last acks went out
	last    time.Time // when nothing more was heard
	heldUp  time.Time // when the reader was last held up: answers may have come and not be read
}

// departure is Draining: no more downstreams; then the end.
type departure struct {
	until  time.Time // we hang up then, whatever is unanswered
	hangUp bool      // and before, when everything is answered; else CCS closes
	ours   bool      // neither CCS nor what is in flight has to do with it
}

// serve is Ready and Draining, which being asked to stop is too. Every turn
// does what is allowed now, writes it at once, then waits for a reason to look
// again.
func (c *conn) serve(ctx context.Context, w *wire, win *flow.Window) error {
	v := &writer{conn: c, w: w, win: win, pinged: time.Now()}
	tick := time.NewTicker(c.s.o.tick())
	defer tick.Stop()
	stop := ctx.Done()
	defer context.AfterFunc(ctx, func() { w.hasten(time.Now().Add(c.s.o.Stop)) })() // a peer that reads nothing holds us up no longer
	for {
		if stop != nil && ctx.Err() != nil {
			stop = nil
			v.depart("stopping", departure{until: v.in(c.s.o.Stop), hangUp: true, ours: true})
		}
		changed := c.s.o.Outbox.Changed(c.s.o.SenderID) // take the hint before looking, so that none is lost
		c.box.take(&v.mail)
		more, err := v.turn(time.Now())
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

// errOver is the end that was asked for.
var errOver = errors.New("over")

// turn is one look at everything. It reports whether there is more to write.
func (v *writer) turn(now time.Time) (more bool, err error) {
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

// answered takes CCS's answers out of the window and hands them on.
func (v *writer) answered(now time.Time) {
	o := &v.s.o
	for _, a := range v.mail.answers {
		if a.nack && a.code == fcm.ConnectionDraining { // a drain may be noticed by a nack first
			v.mail.drain = true
		}
		switch {
		case v.settle(a, now):
		case v.keep(a, now):
			if v.name(now); len(v.unnamed) > 0 {
				v.tell(a, now)
			}
		case a.refusal != nil: // mostly 406: an ack that CCS does not want here
			v.s.odd(stanzaError, a.refusal.Error())
		case a.id == "":
			v.s.remember(now, a.echo.to, "", "a refusal of nothing in flight: "+a.reason())
			v.s.odd(unusablePayload, a.reason())
		default:
			v.s.odd(lateAnswer, strconv.Quote(a.id))
		}
	}
	v.name(now)
	v.inFlight.Store(int64(o.Window - v.win.Room()))
	if v.mail.drain {
		v.depart("asked by CCS", departure{until: v.in(o.Drain)})
	}
	if v.mail.hurry {
		v.depart("its place is needed", departure{until: v.in(o.Grace), hangUp: true, ours: true})
	}
}

// settle takes the downstream that a is of out of the window, and hands a on;
// false when it is not there.
func (v *writer) settle(a answer, now time.Time) bool {
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
	switch {
	case a.refusal != nil:
		v.s.counts.nacked.Add(1)
		o.Outbox.Refused(o.SenderID, seq, a.refusal.Type, a.refusal.Condition, a.refusal.Error())
	case a.nack:
		v.s.counts.nacked.Add(1)
		o.Outbox.Nacked(o.SenderID, seq, a.code, a.description)
	default:
		v.s.counts.acked.Add(1)
		o.Outbox.Acked(o.SenderID, seq, a.token)
	}
	return true
}

// acks appends an ack for each upstream that is stored by now, and looks at
// what could not be stored (P1).
func (v *writer) acks() error {
	kept := v.mail.acks[:0]
	for _, a := range v.mail.acks {
		v.json = fcm.AppendAck(v.json[:0], a.to, a.id)
		out, err := xmpp.AppendMessage(v.out, "", v.json)
		if err == nil && len(out)-len(v.out) > maxAck {
			err = fmt.Errorf("its ack would have %d bytes", len(out)-len(v.out))
		}
		if err != nil { // CCS would end the stream over it
			v.hole(a.to, a.id, err.Error())
			v.s.odd(tooLarge, fmt.Sprintf("message id %q of %q: %v", short(a.id.Text), short(a.to.Text), err))
			continue
		}
		v.out = out
		kept = append(kept, a)
	}
	v.box.wrote(len(v.mail.acks) - len(kept) + len(v.mail.tooBig)) // they are holes now
	v.mail.acks = kept
	for _, a := range v.mail.tooBig {
		v.hole(a.to, a.id, entry.ErrTooLarge.Error()+"; not stored")
		v.s.odd(tooLarge, fmt.Sprintf("upstream %q of %q: %v", short(a.id.Text), short(a.to.Text), entry.ErrTooLarge))
	}
	switch {
	case v.mail.refused == nil || v.going != nil || v.room != nil:
		return nil
	case errors.Is(v.mail.refused, entry.ErrFull):
		v.s.said.log(v.s.o.Log.Warn, "upstreams are not stored and not acked", "conn", v.number, "err", v.mail.refused)
		v.room = v.s.o.Inbox.Room()
		return nil
	}
	return errStore{fmt.Errorf("store an upstream: %w", v.mail.refused)}
}

// fill moves downstreams from the outbox over the window to the wire (P3).
func (v *writer) fill(now time.Time) (more bool) {
	n := min(v.win.Room(), burst)
	if v.going != nil || n == 0 {
		return false
	}
	o := &v.s.o
	taken := o.Outbox.Take(o.SenderID, v.number, n)
	for _, g := range taken {
		if err := v.append(g); err != nil { // nothing of it is in out
			o.Outbox.Refused(o.SenderID, g.Seq, "modify", "bad-request", err.Error())
			continue
		}
		v.win.Add(g.Message.MessageID, target(g.Message.To), g.Seq, now)
		v.s.counts.downstreams.Add(1)
	}
	v.inFlight.Store(int64(o.Window - v.win.Room()))
	return len(taken) == n && v.win.Room() > 0
}

// target is what a nack's "from" and a returned payload's "to" repeat of it (ccs-protocol.md §4).
func target(t message.Target) string {
	if t.Topic != "" {
		return "/topics/" + t.Topic
	}
	return cmp.Or(t.Token, t.Condition)
}

// append writes one downstream. The stanza's id is the message's, so that a
// stanza error frees its slot too (ccs-protocol.md §4.2).
func (v *writer) append(g entry.Outgoing) error {
	v.json = fcm.AppendDownstream(v.json[:0], g.Message, g.TTL)
	var err error
	v.out, err = xmpp.AppendMessage(v.out, g.Message.MessageID, v.json)
	return err
}

// watch pings, and gives the connection up when answers stay out. Any stanza is
// an answer to a ping: CCS lives, whatever it is busy with. Whitespace is none,
// and neither is a stanza that does not end. A silent link is
// wire.Read's matter, which is a moment earlier. Spec: XEP-0199; ccs-protocol.md §1.3.
func (v *writer) watch(now time.Time) {
	o := &v.s.o
	if v.mail.stalled {
		v.heldUp = now
	}
	heard := v.born.Add(time.Duration(v.heard.Load()))
	v.ping = v.ping && heard.Before(v.pinged)
	unheard := now.Sub(v.heldUp) // for how long nothing came that may not just be unread
	oldest, waiting := v.win.Oldest()
	switch {
	case v.going != nil:
	case waiting && min(unheard, now.Sub(oldest)) >= o.AnswerTimeout:
		v.deadEnd() // what is large may vanish on the way there
		v.depart("downstreams are not answered", departure{until: v.in(o.Grace), hangUp: true})
	case v.ping && min(unheard, now.Sub(v.pinged)) >= o.PingTimeout+o.tick():
		v.deadEnd()
		v.depart("a ping is not answered", departure{until: v.in(o.Grace), hangUp: true})
	}
	if !v.ping && min(now.Sub(heard), now.Sub(v.pinged)) >= o.PingInterval {
		v.pings++
		v.ping, v.pinged = true, now
		v.out = xmpp.AppendPing(v.out, "p"+strconv.Itoa(v.pings), o.Domain)
	}
}

// flush writes what this turn brought, in one piece, and counts the acks in it.
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

// depart turns to Draining, or hastens it.
func (v *writer) depart(why string, d departure) {
	v.leave(why)
	if v.going == nil {
		v.going, v.ours = &d, d.ours
		return
	}
	if d.until.Before(v.going.until) {
		v.going.until = d.until
	}
	v.going.hangUp = v.going.hangUp || d.hangUp
}

func (v *writer) in(d time.Duration) time.Time { return time.Now().Add(d) }

// over reports whether it is on us to hang up now.
func (v *writer) over(now time.Time) bool {
	switch {
	case v.going == nil:
		return false
	case !now.Before(v.going.until):
		return true
	}
	return v.going.hangUp && v.win.Empty() && v.box.deafen()
}

// hangUp closes the stream and waits a little for the peer to do so too, so
// that what it still has to say is heard and what we wrote is read. Spec: RFC 6120 §4.4.
func (v *writer) hangUp() {
	v.out = append(v.out[:0], xmpp.CloseTag...)
	if v.flush() != nil {
		return
	}
	limit := time.NewTimer(closeWait)
	defer limit.Stop()
	for {
		v.box.take(&v.mail)
		v.answered(time.Now())
		if v.mail.ended != nil {
			return
		}
		select {
		case <-v.box.hint:
		case <-limit.C:
			return
		}
	}
}

// farewell is the last word when nothing more can be heard, and what to make of
// it. What was stored, or is so within a short while, is acked before: CCS may
// have ended its side of the stream and still take that (P1). Nil: look again.
func (v *writer) farewell(ended error, now time.Time) error {
	if v.last.IsZero() {
		v.last = now
		v.w.hasten(now.Add(2 * closeWait))
	}
	if errors.Is(ended, os.ErrDeadlineExceeded) { // nobody is there
		return ended
	}
	if err := v.acks(); err != nil {
		return err
	}
	over := v.box.settled() || now.Sub(v.last) >= closeWait
	if over {
		v.out = append(v.out, xmpp.CloseTag...)
	}
	switch err := v.flush(); {
	case err == nil && !over:
		return nil
	case err == nil && v.going != nil && errors.Is(ended, xmpp.ErrClosed):
		return errOver
	}
	return ended
}
