package ledger

import (
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// name is a text that many entries share. It takes one word of memory in each.
type name = unique.Handle[string]

// event is what memory holds about one pending event.
type event struct {
	place
	id        ulid.ULID
	lane      uint64 // the device of an upstream, the lane's hash of a timer, else the group
	order     uint64 // of a timer: entry.Lane.Key
	device    uint64 // entry.DeviceHash, or TargetHash of an outcome; 0: it has none
	messageID string // its start, for the summary; it comes from the device or the downstream. Of a timer: its key
	target    string // what is kept of the device
	cause     ulid.ULID
	trace     *entry.TraceSpan // nil: it is not traced
	session   name
	category  name
	plugin    name
	body      any // as in envelope; nil if the event was read from the disk
	kind      entry.Kind
	beside    entry.Kind // of a timer: entry.Lane.Kind
	loose     bool       // as in timer
}

// heading is what memory needs of an event. newEvent copies its texts.
type heading struct {
	id, cause                                    ulid.ULID
	kind, beside                                 entry.Kind
	lane, order, device                          uint64
	loose                                        bool
	trace                                        *entry.TraceSpan
	session, category, plugin, messageID, target string
}

func (e *envelope) heading() heading {
	h := heading{id: e.id, plugin: e.plugin, lane: e.group, trace: e.trace}
	switch m := e.body.(type) {
	case *message.Upstream:
		h.kind, h.session, h.category, h.messageID = entry.Upstream, m.Session, m.Category, m.MessageID
		h.lane = entry.DeviceHash(m.Session, m.From)
		h.device, h.target = h.lane, m.From
	case *message.Outcome:
		h.kind, h.session, h.messageID = entry.Outcome, m.Session, m.MessageID
		h.device, h.target = entry.TargetHash(m.Session, m.To), entry.TargetText(m.To)
	case *inboundReceipt:
		h.kind, h.session, h.category, h.messageID = entry.Receipt, m.Session, m.Category, m.OriginalMessageID
		h.device, h.target = entry.DeviceHash(m.Session, m.Device), m.Device
	case *timer:
		h.kind, h.session, h.messageID, h.loose = entry.Timer, m.Session, m.Key, m.loose
		h.beside, h.lane, h.order, h.cause = m.lane.Kind, m.lane.Hash, m.lane.Key, m.cause
		if m.Device != "" {
			h.device, h.target = entry.DeviceHash(m.Session, m.Device), m.Device
		}
	}
	return h
}

func newEvent(seq uint64, h heading) *event {
	ev := &event{id: h.id, kind: h.kind, lane: h.lane, plugin: unique.Make(h.plugin), order: h.order, beside: h.beside, loose: h.loose}
	ev.seq = seq
	ev.messageID, ev.target = copies(clip(h.messageID, maxName), entry.KeptDevice(h.target))
	ev.device, ev.cause, ev.trace = h.device, h.cause, h.trace
	ev.session, ev.category = unique.Make(h.session), unique.Make(h.category)
	ev.size = uint32(itemExtra + len(ev.messageID) + len(ev.target))
	return ev
}

// copies are copies of two texts in one piece of memory, so that the message can be freed.
func copies(a, b string) (string, string) {
	var both strings.Builder
	both.Grow(len(a) + len(b))
	both.WriteString(a)
	both.WriteString(b)
	return both.String()[:len(a)], both.String()[len(a):]
}

func (e *event) public(today func(int64) time.Time) entry.Event {
	out := entry.Event{
		Seq: e.seq, Kind: e.kind, Session: e.session.Value(), Category: e.category.Value(), Plugin: e.plugin.Value(),
		Attempts: int(e.attempts), Due: today(e.due),
	}
	switch e.kind {
	case entry.Upstream:
		out.Device = e.lane
	case entry.Timer:
		out.Lane = entry.Lane{Kind: e.beside, Hash: e.lane, Key: e.order}
	default:
		out.Group = e.lane
	}
	return out
}

// downstream is what memory holds about one pending downstream.
type downstream struct {
	place
	accepted  int64
	expires   int64
	notBefore int64 // nanoseconds; 0: none that lay ahead
	group     uint64
	target    uint64
	messageID string
	to        string // what is kept of the target
	cause     ulid.ULID
	trace     *entry.TraceSpan
	session   name
	owner     name
	body      *message.Checked // as in event
	tell      bool
	replaces  bool // it has a Replace
	receipt   bool // it asks for one
}

func newDownstream(seq uint64, p parcel) *downstream {
	m := p.message
	d := &downstream{
		accepted: toNanos(p.accepted), cause: p.cause, trace: p.trace, receipt: m.Options.ReceiptRequested,
		expires: toNanos(p.expires), group: entry.GroupHash(m.Session, p.owner, m.Group), target: entry.TargetHash(m.Session, m.To),
		session: unique.Make(m.Session), owner: unique.Make(p.owner), tell: p.tell,
		notBefore: toNanos(p.notBefore), replaces: m.Replace != "",
	}
	d.messageID, d.to = copies(m.MessageID, entry.KeptDevice(entry.TargetText(m.To)))
	d.seq, d.size, d.due = seq, uint32(itemExtra+len(d.messageID)+len(d.to)), d.notBefore
	return d
}

func (d *downstream) public(today func(int64) time.Time) entry.Downstream {
	return entry.Downstream{
		Seq: d.seq, Session: d.session.Value(), Owner: d.owner.Value(), MessageID: d.messageID, Group: d.group, Target: d.target,
		Attempts: int(d.attempts), Due: today(d.due), Expires: today(d.expires), Early: d.due != 0 && d.due == d.notBefore,
	}
}

// leases say who holds which event (P5). They are not stored: a start has none.
type leases struct {
	mu sync.Mutex
	by map[uint64]uint64
}

func (l *leases) set(seq, lease uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lease == 0 {
		delete(l.by, seq)
	} else {
		l.by[seq] = lease
	}
}

func (l *leases) of(seq uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[seq]
}
