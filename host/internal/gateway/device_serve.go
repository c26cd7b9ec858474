package gateway

import (
	"slices"
	"time"

	"balhost/host/internal/frame"
	"balhost/sdk/message"

	"github.com/coder/websocket"
)

// most is how many downstreams leave in one write.
const most = 32

// writer is what only serve touches.
type writer struct {
	*device
	answers []*owed   // of this step
	sent    time.Time // when the last frame left
	pinged  time.Time // when the ping left that waits for a frame; zero: none does
	leaves  time.Time // when it ends, because nothing more of it is stored; zero: not yet
}

// serve writes all frames, until the device ends. It gives back what is in flight before
// another route can take it: first nothing more is taken or acked, then all is returned,
// then the route is detached.
func (d *device) serve() {
	d.attach()
	w := &writer{device: d, sent: time.Now()}
	w.loop()
	e := d.giveBack()
	d.s.o.Outbox.Detach(d.s.o.SenderID, d.route)
	close(d.gone)
	d.s.left(d, e)
	d.socket.close(e)
}

// attach makes the device's downstreams go by a route of its own, without those that it has.
func (d *device) attach() {
	o := d.s.o
	d.route = o.Outbox.Attach(o.SenderID, d.changed, message.Token(d.from), message.FID(d.from))
	d.more.Store(true)
	d.settleReceived()
	d.heard.Store(int64(time.Since(d.born)))
}

// loop takes one step after the other, and sleeps between them.
func (w *writer) loop() {
	timer := time.NewTimer(pingAfter)
	defer timer.Stop()
	armed := time.Now().Add(pingAfter)
	for {
		now := time.Now()
		more := w.step(now)
		next, over := w.next(now)
		switch {
		case over:
			return
		case more:
			continue
		case next.Before(armed) || !now.Before(armed):
			timer.Reset(next.Sub(now))
			armed = next
		}
		select {
		case <-w.hint:
		case <-timer.C:
		}
	}
}

// step writes what there is to write, in one write. It reports whether there is more.
func (w *writer) step(now time.Time) (more bool) {
	w.socket.wire.hold()
	n := w.answer(now)
	if w.silent(now) {
		n++
		w.socket.wire.frame(&frame.Frame{Type: frame.TypePing})
	}
	taken, more := w.take()
	for i := range taken {
		w.downstream(&taken[i], now)
	}
	if err := w.socket.wire.release(); err != nil { // the device reads nothing, or is gone
		w.end(because(websocket.StatusTryAgainLater, clip(err.Error())))
	}
	if n+len(taken) > 0 {
		w.sent = now
	}
	for _, o := range w.answers {
		w.s.tally.told(o, time.Now())
	}
	clear(w.answers)
	return more
}

// answer writes welcomes, acks and nacks, and a drain. It reports how many frames that are.
func (w *writer) answer(now time.Time) (n int) {
	w.mu.Lock()
	i := 0
	for i < len(w.owed) && w.owed[i].state != atLedger {
		i++
	}
	w.answers = append(w.answers[:0], w.owed[:i]...)
	w.owed = slices.Delete(w.owed, 0, i)
	welcome, drain := w.welcome, !w.drain.IsZero() && !w.deaf
	w.welcome, w.deaf = false, w.deaf || drain
	w.mu.Unlock()
	if welcome {
		n++
		w.socket.wire.frame(&frame.Frame{Type: frame.TypeWelcome, MaxUnacked: frame.MaxUnacked,
			PingSeconds: int(pingAfter / time.Second), Time: now.UnixMilli()})
	}
	for _, o := range w.answers {
		if o.state == later && w.leaves.IsZero() {
			w.leaves = now.Add(time.Duration(o.retry) * time.Second)
		}
		f := o.frame()
		w.socket.wire.frame(&f)
	}
	if drain {
		n++
		w.socket.wire.frame(&frame.Frame{Type: frame.TypeDrain, RetryAfter: drainRetry()})
	}
	return n + len(w.answers)
}

// silent reports whether a ping is due. It comes also while only the device sends: the
// device has to hear something to know that we live.
func (w *writer) silent(now time.Time) bool {
	if !w.pinged.IsZero() && !w.born.Add(time.Duration(w.heard.Load())).Before(w.pinged) {
		w.pinged = time.Time{}
	}
	if now.Before(w.sent.Add(pingAfter)) || !w.pinged.IsZero() {
		return false
	}
	w.pinged = now
	return true
}

// next is when serve has to look again at the latest. It reports whether the device is over.
func (w *writer) next(now time.Time) (next time.Time, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next = w.sent.Add(pingAfter)
	by := func(t time.Time, code websocket.StatusCode, reason string) {
		if t.IsZero() || w.ending != nil {
			return
		}
		if !now.Before(t) {
			w.ending = because(code, reason)
		} else if t.Before(next) {
			next = t
		}
	}
	if !w.drain.IsZero() {
		if len(w.owed)+len(w.flights) == 0 {
			w.drain = now
		}
		by(w.drain, websocket.StatusServiceRestart, restarts)
	}
	if !w.pinged.IsZero() {
		next = w.pinged.Add(pongLimit)
		by(next, websocket.StatusTryAgainLater, "no frame came after a ping")
	}
	if len(w.flights) > 0 {
		by(w.flights[0].since.Add(ackLimit), websocket.StatusTryAgainLater, "a downstream was not acked in time")
	}
	by(w.until, frame.CloseCredential, "the credential has expired")
	by(w.leaves, websocket.StatusTryAgainLater, "there was no room for a message: send it and all later ones again")
	return next, w.ending != nil
}
