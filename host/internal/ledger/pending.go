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
	messageID string // its start, for the summary; it comes from the device, CCS or the downstream. Of a timer: its key
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
	id                                   ulid.ULID
	kind, beside                         entry.Kind
	lane, order                          uint64
	loose                                bool
	session, category, plugin, messageID string
}

func (e *envelope) heading() heading {
	h := heading{id: e.id, plugin: e.plugin, lane: e.group}
	switch m := e.body.(type) {
	case *message.Upstream:
		h.kind, h.session, h.category, h.messageID = entry.Upstream, m.Session, m.Category, m.MessageID
		h.lane = entry.DeviceHash(m.Session, m.From)
	case *message.Outcome:
		h.kind, h.session, h.messageID = entry.Outcome, m.Session, m.MessageID
	case *inboundReceipt:
		h.kind, h.session, h.category, h.messageID = entry.Receipt, m.Session, m.Category, m.ccsID
	case *timer:
		h.kind, h.session, h.messageID, h.loose = entry.Timer, m.Session, m.Key, m.loose
		h.beside, h.lane, h.order = m.lane.Kind, m.lane.Hash, m.lane.Key
	}
	return h
}

func newEvent(seq uint64, h heading) *event {
	ev := &event{id: h.id, kind: h.kind, lane: h.lane, plugin: unique.Make(h.plugin), order: h.order, beside: h.beside, loose: h.loose}
	ev.seq = seq
	ev.messageID = strings.Clone(clip(h.messageID, maxName)) // a copy, so that the message can be freed
	ev.session, ev.category = unique.Make(h.session), unique.Make(h.category)
	ev.size = uint32(itemExtra + len(ev.messageID))
	return ev
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
	expires   int64
	notBefore int64 // nanoseconds; 0: none that lay ahead
	group     uint64
	target    uint64
	messageID string
	session   name
	owner     name
	body      *message.Checked // as in event
	tell      bool
	replaces  bool // it has a Replace
}

func newDownstream(seq uint64, p parcel) *downstream {
	m := p.message
	d := &downstream{
		expires: toNanos(p.expires), group: group(m.Session, p.owner, m.Group), target: entry.TargetHash(m.Session, m.To),
		messageID: strings.Clone(m.MessageID), session: unique.Make(m.Session), owner: unique.Make(p.owner), tell: p.tell,
		notBefore: toNanos(p.notBefore), replaces: m.Replace != "",
	}
	d.seq, d.size, d.due = seq, uint32(itemExtra+len(d.messageID)), d.notBefore
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
