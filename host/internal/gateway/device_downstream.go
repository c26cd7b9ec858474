package gateway

import (
	"slices"
	"sync"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/host/internal/frame"
	"balhost/sdk/message"

	"github.com/coder/websocket"
)

// flight is one downstream that was written, and that the device has not acked.
type flight struct {
	id      string
	seq     uint64
	since   time.Time
	receipt bool // the message asks for one
}

// sentToDevice is the status of CCS's own receipts.
const sentToDevice = "MESSAGE_SENT_TO_DEVICE"

// take takes from the outbox what the device's window has room for (P3). It reports
// whether there may be more.
func (w *writer) take() (taken []entry.Outgoing, more bool) {
	w.mu.Lock()
	room := w.window - len(w.flights)
	w.full = room <= 0
	stop := w.full || w.ending != nil || !w.drain.IsZero()
	w.mu.Unlock()
	if stop || !w.more.Load() {
		return nil, false
	}
	o, n := w.s.o, min(room, most)
	w.more.Store(false) // before looking, so that no hint is lost
	taken = o.Outbox.TakeAt(o.SenderID, w.route, n)
	if len(taken) == n {
		w.more.Store(true)
	}
	return taken, len(taken) == n
}

// downstream writes g. It is in flight before it can be acked.
func (w *writer) downstream(g *entry.Outgoing, now time.Time) {
	m := &g.Message
	if m.Options.DryRun { // no device is to see it: the session's transport asks its server
		w.s.o.Outbox.Answered(w.s.o.SenderID, g.Seq, flow.Answer{Verdict: flow.Resend})
		return
	}
	f := frame.Frame{Type: frame.TypeDownstream, MessageID: m.MessageID, Data: m.Data, Notification: m.Notification,
		CollapseKey: m.Options.CollapseKey, Attempt: g.Attempt}
	if g.TTL != nil {
		left := int64(*g.TTL / time.Second)
		f.TimeToLive = &left
	}
	w.mu.Lock()
	w.flights = append(w.flights, flight{id: m.MessageID, seq: g.Seq, since: now, receipt: m.Options.ReceiptRequested})
	w.mu.Unlock()
	w.s.tally.downstreams.Add(1)
	w.s.tally.inFlight.Add(1)
	w.socket.wire.frame(&f)
}

// acked handles the device's ack of a downstream. It reports whether that was in flight.
func (d *device) acked(id string) bool {
	d.mu.Lock()
	i := slices.IndexFunc(d.flights, func(f flight) bool { return f.id == id })
	if i < 0 {
		d.mu.Unlock()
		return false
	}
	f := d.flights[i]
	d.flights = slices.Delete(d.flights, i, i+1)
	ring := d.full || !d.drain.IsZero()
	d.mu.Unlock()
	d.s.tally.acked.Add(1)
	d.s.tally.inFlight.Add(-1)
	d.settle(f)
	if ring {
		d.ring()
	}
	return true
}

// settle tells the outbox that the device has f. A receipt that was asked for is stored
// before that. If it can't be, the downstream comes again, and so does its ack.
func (d *device) settle(f flight) {
	o := d.s.o
	taken := func() { o.Outbox.Answered(o.SenderID, f.seq, flow.Answer{Verdict: flow.Acked}) }
	if !f.receipt {
		taken()
		return
	}
	o.Inbox.Accept(d.delivered(f.id), func(err error) {
		if err == nil || never(err) {
			taken()
			return
		}
		o.Outbox.Return(o.SenderID, []uint64{f.seq}, flow.End{Fault: flow.Ours, Why: err.Error()})
		d.end(because(websocket.StatusTryAgainLater, noReceipt))
	})
}

// settleReceived tells the outbox what the device has by its hello. It waits for the
// receipts that were asked for, so that nothing of this is sent again before. Where there is
// no room for one, the device is told to come again.
func (d *device) settleReceived() {
	o := d.s.o
	var all sync.WaitGroup
	for _, id := range d.received {
		m, pending := o.Outbox.Pending(o.SenderID, d.route, id)
		switch {
		case !pending:
		case !m.Options.ReceiptRequested:
			o.Outbox.Has(o.SenderID, d.route, id)
		default:
			all.Add(1)
			o.Inbox.Accept(d.delivered(id), func(err error) {
				defer all.Done()
				if err == nil || never(err) {
					o.Outbox.Has(o.SenderID, d.route, id)
					return
				}
				d.end(because(websocket.StatusTryAgainLater, noReceipt))
			})
		}
	}
	all.Wait()
	d.received = nil
}

// noReceipt is why a socket ends that can't settle what its device has.
const noReceipt = "there is no room for a receipt"

// delivered is the receipt that the device's word for a downstream stands for: CCS's own, with its status.
func (d *device) delivered(id string) entry.Inbound {
	return entry.Inbound{FromDevice: true, Receipt: &message.Receipt{
		Session: d.s.o.SenderID, OriginalMessageID: id, Device: d.from, Category: d.who().category,
		Status: sentToDevice, SentAt: time.Now(),
	}}
}

// giveBack returns what is in flight, and says why the device has ended. What it acks
// from now on is not heard.
func (d *device) giveBack() *ending {
	d.mu.Lock()
	seqs := make([]uint64, len(d.flights))
	for i, f := range d.flights {
		seqs[i] = f.seq
	}
	d.flights, d.deaf = nil, true
	e := d.ending
	d.mu.Unlock()
	if len(seqs) > 0 {
		d.s.tally.returned.Add(uint64(len(seqs)))
		d.s.tally.inFlight.Add(-int64(len(seqs)))
		d.s.o.Outbox.Return(d.s.o.SenderID, seqs, flow.End{Fault: flow.Ours, Why: e.reason})
	}
	return e
}
