package ledger

import (
	"cmp"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Accept stores one inbound message, and calls done after the commit, in the
// order of the calls: nil when it is on disk (P1; also when it was before,
// P6), entry.ErrFull or entry.ErrClosed when it is not.
// What is unusable, or has a category of more than 1 KiB or a token or id of
// more than 4 KiB, becomes a dead letter; so does what no commit can hold, cut.
// What in points to belongs to the ledger from now on. It never blocks.
func (l *Ledger) Accept(in entry.Inbound, done func(error)) {
	o := &acceptOp{why: cmp.Or(in.Unusable, tooLong(in))}
	if u := in.Upstream; u != nil {
		o.upstream, o.places, o.sum = u, in.Places, sumUpstream(u, in.Names, in.Unusable != "")
	} else {
		m := in.Receipt
		o.receipt, o.sum = &inboundReceipt{Receipt: *m, ccsID: in.CCSMessageID}, sumReceipt(m.Session, in.CCSMessageID)
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
	var category, token, id string
	if u := in.Upstream; u != nil {
		category, token, id = u.Category, u.From, u.MessageID
	} else {
		category, token, id = in.Receipt.Category, in.Receipt.Device, in.CCSMessageID
	}
	switch {
	case len(category) > maxCategory:
		return fmt.Sprintf("category is longer than %d bytes", maxCategory)
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
	bytes = o.size + len(o.why) + 4*recordExtra
	if o.receipt != nil {
		bytes += maxName // the owner's name
	}
	return bytes, 3
}

func (o *acceptOp) apply(b *batch) error {
	key := b.hashKey(kindDedup, o.sum)
	if b.known(key) {
		b.tally.duplicates++
		return nil
	}
	if b.full {
		return entry.ErrFull
	}
	from := b.mark()
	b.arena = appendTime(append(b.arena, format), b.now)
	b.setUntil(key, from, b.forget)
	b.l.dedup.add(key, b.now)
	b.tally.counts.Accepted++
	b.tally.lastID = nextID(b.tally.lastID, b.now, b.entropy)
	e := envelope{id: b.tally.lastID}
	if o.upstream != nil {
		o.upstream.Received = time.UnixMilli(int64(e.id.Time()))
		e.body, e.places = o.upstream, o.places
	} else {
		e.plugin, e.group = b.sender(o.receipt.Session, o.receipt.OriginalMessageID)
		e.body = o.receipt
	}
	if o.why != "" {
		b.bury(e, o.why)
		return nil
	}
	b.addEvent(e)
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

// sender returns who sent a downstream, and its lane; "" and 0 when it is not known.
func (b *batch) sender(session, messageID string) (plugin string, group uint64) {
	if r, found := b.get(b.hashKey(kindSent, sumSent(session, messageID))); found {
		s := readSent(&r)
		b.fail(r.done())
		return s.owner, s.group
	}
	return "", 0
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
