package ledger

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// Each layout has an append function, and a function that reads it back. A layout begins
// with what the index needs. Bodies come last.

// envelope is the immutable record of an event ('M').
type envelope struct {
	id     ulid.ULID
	plugin string           // the owner of outcomes, and of receipts of known messages
	group  uint64           // their lane
	body   any              // *message.Upstream, *message.Outcome, *inboundReceipt or *timer
	places entry.Places     // of an upstream that has just come in
	trace  *entry.TraceSpan // nil: it is not traced; a timer has its own
}

// kindTraced is a flag beside an event's kind: behind its id is a span. Only events that are
// traced have it, so without traces nothing is written that was not before there were any.
const kindTraced = 1 << 7

// appendHead begins the record of an event.
func appendHead(dst []byte, kind entry.Kind, e *envelope) []byte {
	dst = append(append(dst, format, byte(kind)|set(e.trace != nil, kindTraced)), e.id[:]...)
	return appendSpan(dst, e.trace)
}

// appendSpan writes a span, and nothing for nil: a flag of the record says whether there is one.
func appendSpan(dst []byte, s *entry.TraceSpan) []byte {
	if s == nil {
		return dst
	}
	return append(append(append(dst, s.Trace[:]...), s.ID[:]...), s.Hops)
}

// spanBytes is what appendSpan writes.
const spanBytes = 25

func (r *reader) span() *entry.TraceSpan {
	b := r.bytes(spanBytes)
	if b == nil {
		return nil
	}
	return &entry.TraceSpan{Trace: [16]byte(b[:16]), ID: [8]byte(b[16:24]), Hops: b[24]}
}

func appendEnvelope(dst []byte, e envelope) []byte {
	switch m := e.body.(type) {
	case *message.Upstream:
		dst = appendHead(dst, entry.Upstream, &e)
		dst = appendText(dst, m.Session)
		dst = appendText(dst, m.Raw)
		dst = appendPart(dst, m.Raw, m.From, e.places.From)
		dst = appendPart(dst, m.Raw, m.Category, e.places.Category)
		dst = appendPart(dst, m.Raw, m.MessageID, e.places.MessageID)
		return appendRawPart(dst, m.Raw, m.Data, e.places.Data)
	case *message.Outcome:
		dst = appendHead(dst, entry.Outcome, &e)
		dst = appendText(dst, m.Session)
		dst = appendOwned(dst, e)
		dst = appendText(dst, m.MessageID)
		dst = appendText(dst, m.Group)
		dst = appendTarget(dst, m.To)
		dst = append(dst, byte(m.Status)|set(m.Gone, statusGone)|set(m.To.FID != "", statusFID))
		dst = appendText(dst, m.Code)
		dst = appendText(dst, m.Description)
		dst = appendText(dst, m.NewToken)
		dst = binary.AppendUvarint(dst, uint64(m.Attempts))
		return appendRaw(dst, m.Context)
	case *inboundReceipt:
		dst = appendHead(dst, entry.Receipt, &e)
		dst = appendText(dst, m.Session)
		dst = appendOwned(dst, e)
		dst = appendText(dst, m.ccsID)
		dst = appendText(dst, m.Category)
		dst = appendText(dst, m.OriginalMessageID)
		dst = appendText(dst, m.Device)
		dst = appendText(dst, m.Status)
		return appendTime(dst, m.SentAt)
	case *timer:
		e.trace = nil // the timer's own is enough
		return appendTimer(appendHead(dst, entry.Timer, &e), m)
	}
	panic(fmt.Sprintf("ledger: event body %T", e.body))
}

// Flags beside an outcome's status. Schema 3 has none.
const (
	statusGone = 1 << 7 // the target does not exist any more
	statusFID  = 1 << 6 // the target's token is an FID
)

// set is flag, if it is on.
func set(on bool, flag byte) byte {
	if on {
		return flag
	}
	return 0
}

// inboundReceipt is a receipt with CCS's own id, which no plugin sees.
type inboundReceipt struct {
	message.Receipt
	ccsID string
}

func appendOwned(dst []byte, e envelope) []byte {
	dst = appendText(dst, e.plugin)
	return binary.BigEndian.AppendUint64(dst, e.group)
}

// readEnvelope reads the fields after the format byte.
func readEnvelope(r *reader) envelope {
	flags := r.u8()
	kind := entry.Kind(flags &^ kindTraced)
	e := envelope{id: r.id()}
	if flags&kindTraced != 0 {
		e.trace = r.span()
	}
	session := r.string()
	switch kind {
	case entry.Upstream:
		m := &message.Upstream{Session: session, Received: ulid.Time(e.id.Time())}
		m.Raw = r.text().own() // the next fields are parts of it
		m.From = string(r.part(m.Raw))
		m.Category = string(r.part(m.Raw))
		m.MessageID = string(r.part(m.Raw))
		m.Data = r.part(m.Raw)
		e.body = m
	case entry.Outcome:
		e.plugin, e.group = r.string(), r.u64()
		m := &message.Outcome{Session: session}
		m.MessageID = r.string()
		m.Group = r.string()
		to, status := readTarget(r), r.u8()
		m.To = named(to, status&statusFID != 0)
		m.Status, m.Gone = message.OutcomeStatus(status&^(statusGone|statusFID)), status&statusGone != 0
		m.Code = r.string()
		m.Description = r.string()
		m.NewToken = r.string()
		m.Attempts = int(r.uvarint())
		m.Context = r.raw()
		e.body = m
	case entry.Receipt:
		e.plugin, e.group = r.string(), r.u64()
		m := &inboundReceipt{ccsID: r.string()}
		m.Session = session
		m.Category = r.string()
		m.OriginalMessageID = r.string()
		m.Device = r.string()
		m.Status = r.string()
		m.SentAt = r.time()
		e.body = m
	case entry.Timer:
		m := readTimer(r, session)
		e.plugin, e.body, e.trace = m.plugin, m, m.span
	default:
		r.bad = true
	}
	return e
}

// readHeading reads what memory needs of an event, after the format byte.
func readHeading(r *reader) heading {
	if len(r.b) == 0 || entry.Kind(r.b[0]&^kindTraced) != entry.Upstream {
		e := readEnvelope(r)
		return e.heading()
	}
	flags := r.u8()
	h := heading{kind: entry.Upstream, id: r.id()}
	if flags&kindTraced != 0 {
		h.trace = r.span()
	}
	h.session = r.string()
	raw := r.text()
	from := r.part(raw)
	h.lane = entry.DeviceHash(h.session, string(from))
	h.device, h.target = h.lane, string(from[:min(len(from), entry.DeviceKept)])
	h.category, h.messageID = string(r.part(raw)), string(r.part(raw))
	r.part(raw) // the data
	return h
}

// dead is a dead letter ('X'): why it died, and the event's envelope.
type dead struct {
	seq      uint64 // of the event that died; replays go in this order
	died     time.Time
	attempts uint32
	unusable bool // it was never pending, because no plugin can handle it
	plugin   string
	reason   string
	tries    []attempt
	event    envelope
}

// appendDead takes the envelope as it was stored, without the format byte.
func appendDead(dst []byte, d dead, event []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, formatLife), d.seq)
	dst = appendTime(dst, d.died)
	dst = binary.AppendUvarint(dst, uint64(d.attempts))
	dst = appendBool(dst, d.unusable)
	dst = appendText(dst, d.plugin)
	dst = appendText(dst, d.reason)
	dst = appendAttempts(dst, d.tries)
	return append(dst, event...)
}

func readDead(r *reader) dead {
	d, _ := readDeadWhole(r)
	return d
}

// readDeadWhole also returns the envelope as it is stored, without the format byte.
func readDeadWhole(r *reader) (d dead, event lent) {
	d = dead{seq: r.u64(), died: r.time(), attempts: uint32(r.uvarint()), unusable: r.u8() == 1, plugin: r.string(), reason: r.string()}
	if r.format >= formatLife {
		d.tries = r.attempts()
	}
	event = r.b
	d.event = readEnvelope(r)
	return d, event
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// parcel is the immutable record of a downstream ('N'). It ends with the content, which is
// the encoded message. Equal content under the same id is the same message.
type parcel struct {
	tell      bool
	accepted  time.Time
	expires   time.Time
	notBefore time.Time // the message's NotBefore by the ledger's clock, if it lay ahead when it was accepted
	owner     string
	cause     ulid.ULID // the event whose handler has sent it, if its message id does not tell
	trace     *entry.TraceSpan
	message   *message.Checked
}

// Flags of a parcel. Before schema 6 there is only parcelTell, before schema 7 no parcelCause.
const (
	parcelTell  = 1 << 0
	parcelWaits = 1 << 1 // it has a notBefore
	parcelCause = 1 << 2 // it has a cause
	parcelTrace = 1 << 3 // it is traced
)

func appendParcel(dst []byte, p parcel, content []byte) []byte {
	waits := !p.notBefore.IsZero()
	dst = append(dst, format, set(p.tell, parcelTell)|set(waits, parcelWaits)|set(!p.cause.IsZero(), parcelCause)|set(p.trace != nil, parcelTrace))
	dst = appendTime(dst, p.accepted)
	dst = appendTime(dst, p.expires)
	if waits {
		dst = appendTime(dst, p.notBefore)
	}
	if !p.cause.IsZero() {
		dst = append(dst, p.cause[:]...)
	}
	dst = appendSpan(dst, p.trace)
	dst = appendText(dst, p.owner)
	return append(dst, content...)
}

func readParcel(r *reader) parcel {
	flags := r.u8()
	p := parcel{tell: flags&parcelTell != 0, accepted: r.time(), expires: r.time()}
	if flags&parcelWaits != 0 {
		p.notBefore = r.time()
	}
	if flags&parcelCause != 0 {
		p.cause = r.id()
	}
	if flags&parcelTrace != 0 {
		p.trace = r.span()
	}
	p.owner, p.message = r.string(), readContent(r)
	return p
}

// appendContent encodes a downstream. Equal messages have equal bytes, in each schema: a
// message that is sent again after an upgrade is the same message. So what is new gets a
// flag, and what was there before keeps its bytes.
func appendContent(dst []byte, m *message.Checked) []byte {
	dst = appendText(dst, m.Session)
	dst = appendText(dst, m.MessageID)
	dst = appendText(dst, m.Group)
	dst = appendTarget(dst, m.To)
	dst = appendRaw(dst, m.Data)
	dst = appendRaw(dst, m.Notification)
	dst = appendRaw(dst, m.Context)
	o := m.Options
	var flags byte
	for i, on := range []bool{o.TTL != nil, o.DryRun, o.ReceiptRequested, o.ContentAvailable, o.MutableContent, m.To.FID != "", !m.NotBefore.IsZero(), m.Replace != ""} {
		flags |= set(on, 1<<i)
	}
	dst = append(dst, flags)
	if o.TTL != nil {
		dst = binary.BigEndian.AppendUint64(dst, uint64(*o.TTL))
	}
	if !m.NotBefore.IsZero() {
		dst = binary.BigEndian.AppendUint64(dst, uint64(m.NotBefore.UnixMilli()))
	}
	if m.Replace != "" {
		dst = appendText(dst, m.Replace)
	}
	dst = appendText(dst, string(o.Priority))
	dst = appendText(dst, o.CollapseKey)
	dst = appendRaw(dst, o.Android)
	dst = appendRaw(dst, o.APNS)
	return appendRaw(dst, o.Webpush)
}

func readContent(r *reader) *message.Checked {
	m := &message.Checked{Session: r.string(), MessageID: r.string(), Group: r.string(), To: readTarget(r)}
	m.Data, m.Notification, m.Context = r.raw(), r.raw(), r.raw()
	flags := r.u8()
	m.To = named(m.To, flags&32 != 0)
	o := &m.Options
	if flags&1 != 0 {
		o.TTL = message.TTL(time.Duration(r.u64()))
	}
	if flags&64 != 0 {
		m.NotBefore = time.UnixMilli(int64(r.u64())).UTC() // as Checked has it
	}
	if flags&128 != 0 {
		m.Replace = r.string()
	}
	o.DryRun, o.ReceiptRequested = flags&2 != 0, flags&4 != 0
	o.ContentAvailable, o.MutableContent = flags&8 != 0, flags&16 != 0
	o.Priority = message.Priority(r.string())
	o.CollapseKey = r.string()
	o.Android, o.APNS, o.Webpush = r.raw(), r.raw(), r.raw()
	return m
}

// appendTarget writes an FID like a token. A flag of the record tells them apart, see named.
func appendTarget(dst []byte, t message.Target) []byte {
	dst = appendText(dst, cmp.Or(t.Token, t.FID))
	dst = appendText(dst, t.Topic)
	return appendText(dst, t.Condition)
}

func readTarget(r *reader) message.Target {
	return message.Target{Token: r.string(), Topic: r.string(), Condition: r.string()}
}

// named is a target as it was before appendTarget.
func named(t message.Target, isFID bool) message.Target {
	if isFID {
		t.Token, t.FID = "", t.Token
	}
	return t
}

// sent says that a message id is taken ('I'), by which owner and for which content. It
// stays until the outcome of the downstream is purged.
type sent struct {
	seq     uint64
	content digest // of owner and content
	target  uint64 // entry.TargetHash; 0: it was stored by a host with schema 4 or older
	group   uint64 // the lane of its receipts
	owner   string
}

func appendSent(dst []byte, s sent) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, formatTarget), s.seq)
	dst = append(dst, s.content[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.target)
	dst = binary.BigEndian.AppendUint64(dst, s.group)
	return appendText(dst, s.owner)
}

func readSent(r *reader) (s sent) {
	s.seq = r.u64()
	copy(s.content[:], r.bytes(uint64(len(s.content))))
	if r.format >= formatTarget {
		s.target = r.u64()
	}
	s.group, s.owner = r.u64(), r.string()
	return s
}

// A record of Replace ('R') has the seq of the newest downstream with it, while that is
// pending.
func appendReplace(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, format), seq)
}

func readReplace(r *reader) uint64 { return r.u64() }

// value is one key of a plugin's state ('K').
type value struct {
	version uint64
	json    json.RawMessage
}

func appendValue(dst []byte, v value) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, format), v.version)
	return append(dst, v.json...)
}

func readValue(r *reader) value {
	return value{version: r.u64(), json: r.bytes(uint64(len(r.b))).own()}
}

// maxNote limits, in bytes, the error texts that are stored in a record.
const maxNote = 1 << 10

// clip cuts a text to a number of bytes. It may cut through a character.
func clip(s string, limit int) string { return s[:min(len(s), limit)] }
