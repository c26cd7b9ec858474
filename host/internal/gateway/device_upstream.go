package gateway

import (
	"errors"
	"math/rand/v2"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/sdk/message"
)

// owed is one upstream or receipt of a device until its answer is written.
type owed struct {
	id, original, status string // as the device gave them
	read                 time.Time
	state                answer
	code, description    string // refused
	retry                int64  // later: seconds
	again                bool   // the ledger says that it was stored before
}

// answer is what the device is told.
type answer uint8

const (
	atLedger answer = iota // not known yet
	stored
	refused // it can never be stored
	later   // there is no room now
)

// upstream hands an upstream to the ledger, and does not wait for the commit.
func (d *device) upstream(f *frame.Frame, wrong error) *ending {
	o := &owed{id: f.MessageID, read: time.Now()}
	ok, e := d.admit(o)
	if !ok {
		return e
	}
	in, no := d.s.desk.upstream(d.who(), f, wrong)
	d.submit(o, in, no)
	return nil
}

// receipt hands a receipt to the ledger, as upstream does.
func (d *device) receipt(f *frame.Frame, wrong error) *ending {
	o := &owed{id: f.MessageID, original: f.Original, status: f.Status, read: time.Now()}
	ok, e := d.admit(o)
	if !ok {
		return e
	}
	in, no := d.s.desk.receipt(d.who(), f, wrong)
	d.submit(o, in, no)
	return nil
}

func (d *device) who() identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return identity{from: d.from, category: d.category}
}

// admit makes o one of those that are owed an answer. It says no when o gets none, or has
// its answer already.
func (d *device) admit(o *owed) (ok bool, e *ending) {
	if !d.s.desk.allow(d.from) {
		return false, d.limited("too many messages a second")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.deaf: // the device has been told to go: it sends this again on its next connection
		return false, nil
	case len(d.owed) == frame.MaxUnacked:
		return false, d.limited("more messages without an answer than max_unacked")
	case d.noRoom:
		o.state, o.retry = later, retryAfter()
		d.owed = append(d.owed, o)
		defer d.ring()
		return false, nil
	}
	d.owed = append(d.owed, o)
	return true, nil
}

// submit gives what was admitted to the ledger, unless it is refused.
func (d *device) submit(o *owed, in entry.Inbound, no *refusal) {
	if no != nil {
		d.mu.Lock()
		o.state, o.code, o.description = refused, no.code, no.description
		d.mu.Unlock()
		d.ring()
		return
	}
	in.Line, in.Again, in.Via = &d.line, &o.again, message.Gateway
	d.s.o.Inbox.Accept(in, d.stored)
}

// decided is the ledger's word on one that was submitted. It comes in the order of the
// calls, so it is on the oldest that waits for one (P1).
func (d *device) decided(err error) {
	d.mu.Lock()
	for _, o := range d.owed {
		if o.state == atLedger {
			d.decide(o, err)
			break
		}
	}
	d.mu.Unlock()
	d.ring()
}

func (d *device) decide(o *owed, err error) {
	switch {
	case err == nil:
		o.state = stored
	case never(err):
		o.state, o.code, o.description = refused, neverCode(err), err.Error()
	default:
		d.noRoom = true
		o.state, o.retry = later, retryAfter()
	}
}

// never reports whether what the ledger refused with err can never be stored. Any other
// error is a matter of time.
func never(err error) bool {
	return errors.Is(err, entry.ErrTooLarge) || errors.Is(err, entry.ErrNotSent)
}

func neverCode(err error) string {
	if errors.Is(err, entry.ErrNotSent) {
		return frame.CodeNotSent
	}
	return frame.CodeTooBig
}

// receipt reports whether o is a receipt.
func (o *owed) receipt() bool { return o.original != "" || o.status != "" }

// frame is what o's device is told. The answer to a receipt repeats what the receipt was
// of, and has a message_id only if the receipt had one.
func (o *owed) frame() frame.Frame {
	f := frame.Frame{Type: frame.TypeAck, MessageID: o.id, Original: o.original, Status: o.status}
	switch o.state {
	case refused:
		f.Type, f.Error, f.Description = frame.TypeNack, o.code, o.description
	case later:
		f.Type, f.Error, f.Temporary, f.RetryAfter = frame.TypeNack, frame.CodeNoRoom, true, o.retry
	}
	return f
}

// retryAfter is when there may be room again, in seconds. Spec: fcm-v1-and-gateway.md C2.
func retryAfter() int64 { return 20 + rand.Int64N(41) }
