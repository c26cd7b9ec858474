package ledger

import (
	"cmp"
	"fmt"
	"time"
	"unique"

	"balhost/host/internal/entry"
	"balhost/host/internal/feed"
	"balhost/sdk/message"
)

// Accept stores one inbound message, and calls done after the commit, in the
// order of the calls: nil when it is on disk (P1; also when it was before,
// P6), entry.ErrFull or entry.ErrClosed when it is not. In a line, the first that finds
// no room is the last that could be stored: all later ones get entry.ErrFull.
// A receipt that comes from the device itself gets entry.ErrNotSent when the device was
// not sent the message, and entry.ErrTooLarge when it is too long.
// Anything else that is unusable, or has a category of more than 1 KiB or a token or id of
// more than 4 KiB, becomes a dead letter; so does what no commit can hold, cut.
// What in points to belongs to the ledger from now on. It never blocks.
func (l *Ledger) Accept(in entry.Inbound, done func(error)) {
	o := &acceptOp{why: cmp.Or(in.Unusable, tooLong(in)), line: in.Line, again: in.Again}
	if l.o.Tracer.On() && in.Upstream != nil {
		o.traced = l.receive(&in)
	}
	if u := in.Upstream; u != nil {
		o.upstream, o.places, o.sum = u, in.Places, sumUpstream(u, in.Names, in.Unusable != "")
	} else {
		o.receipt, o.sum, o.fromDevice = &inboundReceipt{Receipt: *in.Receipt, ccsID: in.CCSMessageID}, sumReceipt(in), in.FromDevice
	}
	if o.size = o.measure(); o.size > maxBody {
		o.cut()
	}
	o.why = clip(o.why, maxNote)
	l.put(o, done)
}

// Bounds of the texts that name a message, in bytes. They are far above what CCS and
// its devices use, and small enough for memory and metrics.
const (
	maxCategory = 1 << 10
	maxID       = 4 << 10 // of tokens and message ids
)

// tooLong says which part of a message is too long; "" when none is.
func tooLong(in entry.Inbound) string {
	var category, status, token, id string
	if u := in.Upstream; u != nil {
		category, token, id = u.Category, u.From, u.MessageID
	} else {
		category, token, id = in.Receipt.Category, in.Receipt.Device, in.CCSMessageID
	}
	if in.FromDevice { // these are its dedup key
		status, id = in.Receipt.Status, in.Receipt.OriginalMessageID
	}
	switch {
	case len(category) > maxCategory:
		return fmt.Sprintf("category is longer than %d bytes", maxCategory)
	case len(status) > maxCategory:
		return fmt.Sprintf("status is longer than %d bytes", maxCategory)
	case len(token) > maxID:
		return fmt.Sprintf("token is longer than %d bytes", maxID)
	case len(id) > maxID:
		return fmt.Sprintf("message id is longer than %d bytes", maxID)
	}
	return ""
}

type acceptOp struct {
	upstream *message.Upstream
	places   entry.Places // of upstream
	receipt  *inboundReceipt
	sum      digest
	why      string // why it is unusable and becomes a dead letter
	size     int    // upper bound of the message, in bytes

	fromDevice bool        // the receipt's device has sent it itself
	line       *entry.Line // nil: it is in none
	again      *bool       // where to say that it was stored before; nil: nowhere
	traced     *received   // nil: it is not traced
}

func (o *acceptOp) session() string {
	if o.upstream != nil {
		return o.upstream.Session
	}
	return o.receipt.Session
}

// measure is an upper bound of the message's size, in bytes.
func (o *acceptOp) measure() int {
	if u := o.upstream; u != nil {
		size := len(u.Raw) + len(u.From) + len(u.Category) + len(u.MessageID) + len(u.Session)
		if find(u.Raw, u.Data, o.places.Data) < 0 {
			size += len(u.Data)
		}
		return size
	}
	m := o.receipt
	return len(m.Session) + len(m.Category) + len(m.OriginalMessageID) + len(m.ccsID) + len(m.Device) + len(m.Status)
}

// cut shortens a message that no commit can hold, and makes it a dead letter. If it
// stayed un-acked, it would hold a slot of CCS's window for ever.
func (o *acceptOp) cut() {
	why := fmt.Sprintf("its %d bytes are more than the ledger can store of one message: it is cut", o.size)
	if o.why != "" {
		why = o.why + "; " + why
	}
	o.why = why
	if u := o.upstream; u != nil {
		u.From, u.Category, u.MessageID, u.Data = clip(u.From, maxID), clip(u.Category, maxCategory), clip(u.MessageID, maxID), nil
		if o.measure() > maxBody {
			u.Raw = entry.Cut(u.Raw, u.Raw, len(u.Raw))
		}
	} else {
		m := o.receipt
		m.Category, m.Status = clip(m.Category, maxCategory), clip(m.Status, maxCategory)
		for _, s := range []*string{&m.OriginalMessageID, &m.ccsID, &m.Device} {
			*s = clip(*s, maxID)
		}
	}
	o.size = o.measure()
}

func (o *acceptOp) weigh() (bytes, records int) {
	bytes = o.size + len(o.why) + 4*recordExtra + spanBytes
	if o.receipt != nil {
		bytes += maxName // the owner's name
	}
	return bytes, 3
}

// apply keeps the order of a line (P1): when an upstream found no room, a later one must
// not be stored before it, though there is room again.
func (o *acceptOp) apply(b *batch) error {
	if o.line != nil && o.line.Broken {
		return entry.ErrFull
	}
	key := b.hashKey(kindDedup, o.sum)
	if b.known(key) {
		b.tally.duplicates++
		if o.again != nil {
			*o.again = true
		}
		if b.watched {
			b.sayEvent(feed.Duplicate, envelope{body: o.inbound()}, "")
		}
		return nil
	}
	if o.fromDevice {
		if err := o.checkDevice(b); err != nil {
			return err
		}
	}
	if err := b.closed(o.session()); err != nil {
		if o.line != nil {
			o.line.Broken = true
		}
		return err
	}
	return o.store(b, key)
}

// checkDevice returns an error for a receipt that its device can't have: else a device
// could forge the receipts of others. What is wrong is the device's fault, and the device
// is there to be told, so it becomes no dead letter.
// Spec: fcm-v1-and-gateway.md C2
func (o *acceptOp) checkDevice(b *batch) error {
	if o.why != "" {
		return fmt.Errorf("receipt: %s: %w", o.why, entry.ErrTooLarge)
	}
	m := o.receipt
	switch s, found := b.sent(m.Session, m.OriginalMessageID); {
	case !found, s.target == 0:
		return entry.ErrNotSent
	case s.target == entry.TargetHash(m.Session, message.Token(m.Device)), s.target == entry.TargetHash(m.Session, message.FID(m.Device)):
		return nil
	}
	return entry.ErrNotSent
}

// store stores it under its dedup key.
func (o *acceptOp) store(b *batch, key []byte) error {
	from := b.mark()
	b.arena = appendTime(append(b.arena, format), b.now)
	b.setUntil(key, from, b.forget)
	b.l.dedup.add(key, b.now)
	b.tally.counts.Accepted++
	b.tally.lastID = nextID(b.tally.lastID, b.now, b.entropy)
	e, nobody := envelope{id: b.tally.lastID}, false // to hear of it
	if o.upstream != nil {
		o.upstream.Received = time.UnixMilli(int64(e.id.Time()))
		e.body, e.places = o.upstream, o.places
	} else {
		s, _ := b.sent(o.receipt.Session, o.receipt.OriginalMessageID)
		e.plugin, e.group = s.owner, s.group // of an unknown one: none
		nobody = s.owner != "" && b.untold(unique.Make(s.owner), s.seq)
		e.body = o.receipt
	}
	if o.traced != nil {
		e.trace = o.traced.is
		b.traceReceived(o.traced, &e, o.why)
	}
	what := feed.Stored
	switch {
	case o.why != "":
		what = feed.Unusable
		b.bury(e, o.why)
	case !nobody:
		b.addEvent(e)
	}
	if b.watched {
		b.sayEvent(what, e, o.why)
	}
	if nobody && o.why == "" {
		b.unheard(e)
	}
	return nil
}

// known reports whether a message with this dedup key was stored in the window (P6).
func (b *batch) known(key []byte) bool {
	if b.l.dedup.rulesOut(key, b.now) {
		return false
	}
	r, found := b.get(key)
	if !found && b.ahead {
		r, found = b.expired(key)
	}
	return found && b.now.Sub(r.time()) < b.l.o.DedupWindow
}

// sent returns what is known of a downstream by its message id.
func (b *batch) sent(session, messageID string) (s sent, found bool) {
	r, found := b.get(b.hashKey(kindSent, sumSent(session, messageID)))
	if found {
		s = readSent(&r)
		b.fail(r.done())
	}
	return s, found
}

// bury stores an event that no plugin can handle as a dead letter.
func (b *batch) bury(e envelope, why string) {
	from := b.mark()
	b.arena = appendEnvelope(b.arena, e)
	event := b.since(from)[1:]
	b.putDead(dead{seq: b.next(), died: b.now, unusable: true, reason: why, event: e}, event)
}

// putDead writes a dead letter; event is its envelope, without the format byte.
func (b *batch) putDead(d dead, event []byte) {
	d.reason = clip(d.reason, maxNote)
	from := b.mark()
	b.arena = appendDeadKey(b.arena, d.event.id)
	key := b.since(from)
	from = b.mark()
	b.arena = appendDead(b.arena, d, event)
	b.set(key, from)
	b.tally.counts.Died++
	b.tally.counts.Dead++
}
