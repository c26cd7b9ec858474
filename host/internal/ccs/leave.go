package ccs

import (
	"errors"
	"os"
	"strconv"
	"time"

	"balhost/host/internal/xmpp"
)

// departure is how a Draining connection ends; it takes no more downstreams.
type departure struct {
	until  time.Time // we hang up then, whatever is unanswered
	hangUp bool      // we hang up as soon as everything is answered; else CCS closes
	ours   bool      // the reason is ours: neither CCS nor what is in flight caused it
}

// closeWait is how long the peer has to answer our </stream:stream>.
const closeWait = time.Second

// errOver is the end that was asked for.
var errOver = errors.New("over")

// watch pings, and gives the connection up when answers do not come. Any stanza
// counts as the answer to a ping: it shows that CCS lives. Whitespace does not count,
// nor does a stanza that never ends. When nothing comes at all, wire.Read ends the
// connection a moment earlier. Spec: XEP-0199; ccs-protocol.md §1.3.
func (v *writer) watch(now time.Time) {
	o := &v.s.o
	if v.mail.stalled {
		v.heldUp = now
	}
	heard := v.born.Add(time.Duration(v.heard.Load()))
	v.ping = v.ping && heard.Before(v.pinged)
	unheard := now.Sub(v.heldUp) // for how long the reader has read all that came
	oldest, waiting := v.win.Oldest()
	switch {
	case v.going != nil:
	case waiting && min(unheard, now.Sub(oldest)) >= o.AnswerTimeout:
		v.deadEnd() // large packets may get lost on the way to this address
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

// depart begins Draining, or makes it end sooner.
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

// over reports whether we have to hang up now.
func (v *writer) over(now time.Time) bool {
	switch {
	case v.going == nil:
		return false
	case !now.Before(v.going.until):
		return true
	}
	return v.going.hangUp && v.win.Empty() && v.box.deafen()
}

// hangUp closes the stream, and waits a little until the peer has closed it too: by
// then it has read what we wrote, and we have read its last answers. Spec: RFC 6120 §4.4.
func (v *writer) hangUp() {
	v.out = append(v.out[:0], xmpp.CloseTag...)
	if v.flush() != nil {
		return
	}
	limit := time.NewTimer(closeWait)
	defer limit.Stop()
	for {
		v.box.empty(&v.mail)
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

// farewell ends the stream after the reader has ended. CCS may have closed only its
// own side: what is stored, or will be in a moment, is acked before (P1). It returns
// why the connection ends; nil: not yet.
func (v *writer) farewell(ended error, now time.Time) error {
	if v.ended.IsZero() {
		v.ended = now
		v.w.hasten(now.Add(2 * closeWait))
	}
	if errors.Is(ended, os.ErrDeadlineExceeded) { // nobody is there
		return ended
	}
	if err := v.acks(); err != nil {
		return err
	}
	over := v.box.decidedAll() || now.Sub(v.ended) >= closeWait
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
