package ledger

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"github.com/oklog/ulid/v2"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// name is a text of which many entries have the same: one word each.
type name = unique.Handle[string]

// event is what memory holds about one pending event, about 150 bytes. Ledger.mu
// guards what changes, but for the fields said to be the committer's.
type event struct {
	seq       uint64
	id        ulid.ULID
	lease     atomic.Uint64
	due       int64  // nanoseconds, 0: at once
	lane      uint64 // the device of an upstream, else the group
	messageID string // for the summary, so its start: the device's, CCS's or the downstream's
	session   name
	category  name
	plugin    name
	body      any // as in envelope, while the cache holds it
	size      int // of body in memory, in bytes; 0 without one
	weight    int // of the record, in bytes
	attempts  uint32
	slot      uint16 // in page; the committer's
	kind      entry.Kind
	page      *page
	kept      bool // has a state record; the committer's
	over      bool // settled by an earlier operation of the batch; the committer's
}

func newEvent(seq uint64, e envelope) *event {
	ev := &event{seq: seq, id: e.id, plugin: unique.Make(e.plugin), lane: e.group}
	var session, category, messageID string
	switch m := e.body.(type) {
	case *message.Upstream:
		ev.kind, session, category, messageID = entry.Upstream, m.Session, m.Category, m.MessageID
		ev.lane = device(m.Session, m.From)
	case *message.Outcome:
		ev.kind, session, messageID = entry.Outcome, m.Session, m.MessageID
	case *inboundReceipt:
		ev.kind, session, category, messageID = entry.Receipt, m.Session, m.Category, m.ccsID
	}
	ev.messageID = strings.Clone(clip(messageID, maxName)) // lets go of the message
	ev.session, ev.category = unique.Make(session), unique.Make(category)
	return ev
}

func (e *event) public(today func(int64) time.Time) entry.Event {
	out := entry.Event{
		Seq: e.seq, Kind: e.kind, Session: e.session.Value(), Category: e.category.Value(), Plugin: e.plugin.Value(),
		Attempts: int(e.attempts), Due: today(e.due),
	}
	if e.kind == entry.Upstream {
		out.Device = e.lane
	} else {
		out.Group = e.lane
	}
	return out
}

func (e *event) shed() (size int) {
	size, e.size, e.body = e.size, 0, nil
	return size
}

func (e *event) home() *page { return e.page }

// downstream is what memory holds about one pending downstream.
type downstream struct {
	seq       uint64
	due       int64 // nanoseconds, 0: at once
	expires   int64
	group     uint64
	messageID string
	session   name
	owner     name
	body      *message.Downstream // while the cache holds it
	size      int
	weight    int
	attempts  uint32
	slot      uint16 // as in event
	page      *page
	tell      bool
	kept      bool // as in event
	over      bool // as in event
}

func newDownstream(seq uint64, p parcel) *downstream {
	m := p.message
	return &downstream{
		seq: seq, expires: toNanos(p.expires), group: group(m.Session, p.owner, m.Group), messageID: m.MessageID,
		session: unique.Make(m.Session), owner: unique.Make(p.owner), tell: p.tell,
	}
}

func (d *downstream) public(today func(int64) time.Time) entry.Downstream {
	return entry.Downstream{
		Seq: d.seq, Session: d.session.Value(), Owner: d.owner.Value(), MessageID: d.messageID, Group: d.group,
		Attempts: int(d.attempts), Due: today(d.due), Expires: today(d.expires),
	}
}

func (d *downstream) shed() (size int) {
	size, d.size, d.body = d.size, 0, nil
	return size
}

func (d *downstream) home() *page { return d.page }

// queue holds pending entries in seq order: added at the end, ended anywhere.
// Only the committer changes it, so the committer reads it without the lock.
type queue[T interface {
	comparable
	shed() int   // lets go of the body, and says how much that was
	home() *page // where it is stored
}] struct {
	seqs  []uint64
	items []T // the zero T where the entry has ended
	live  int

	// Bodies are cached from the moment of their commit, in seq order, while
	// the sum of their sizes is within the limit; the oldest go first.
	held, limit int
	shedTo      uint64 // the bodies up to this seq have gone
}

func (q *queue[T]) find(seq uint64) (at int, found bool) { return slices.BinarySearch(q.seqs, seq) }

// get returns the zero T when seq is not pending.
func (q *queue[T]) get(seq uint64) (item T) {
	if at, ok := q.find(seq); ok {
		item = q.items[at]
	}
	return item
}

// add appends an entry whose body has the given size.
func (q *queue[T]) add(seq uint64, item T, size int) {
	q.seqs, q.items = append(q.seqs, seq), append(q.items, item)
	q.live++
	q.held += size
	if q.held > q.limit {
		q.shed()
	}
}

// shed drops the oldest bodies until a quarter of the limit is free, so that
// it is seldom called.
func (q *queue[T]) shed() {
	at, found := q.find(q.shedTo)
	if found {
		at++
	}
	var none T
	for ; at < len(q.items) && q.held > q.limit*3/4; at++ {
		if q.items[at] != none {
			q.held -= q.items[at].shed()
		}
		q.shedTo = q.seqs[at]
	}
}

// end takes an entry out.
func (q *queue[T]) end(seq uint64) {
	at, found := q.find(seq)
	var none T
	if !found || q.items[at] == none {
		return
	}
	q.held -= q.items[at].shed()
	q.items[at] = none
	q.live--
	ended := 0
	for ended < len(q.items) && q.items[ended] == none {
		ended++
	}
	q.seqs, q.items = q.seqs[ended:], q.items[ended:]
	if len(q.items) > 2*q.live+1024 {
		q.compact()
	}
}

// compact takes the holes out, into new arrays: readers may hold no old ones, but memory shrinks.
func (q *queue[T]) compact() {
	seqs, items := make([]uint64, 0, q.live), make([]T, 0, q.live)
	var none T
	for i, item := range q.items {
		if item != none {
			seqs, items = append(seqs, q.seqs[i]), append(items, item)
		}
	}
	q.seqs, q.items = seqs, items
}

// after calls f for up to limit pending entries that follow seq, in order,
// until it returns false.
func (q *queue[T]) after(seq uint64, limit int, f func(T) bool) {
	at, found := q.find(seq)
	if found {
		at++
	}
	var none T
	for ; at < len(q.items) && limit > 0; at++ {
		if q.items[at] != none {
			limit--
			if !f(q.items[at]) {
				return
			}
		}
	}
}

// room is an upper bound of what after finds.
func (q *queue[T]) room(seq uint64, limit int) int {
	at, _ := q.find(seq)
	return max(0, min(limit, len(q.seqs)-at))
}

// low is the key before which no page is pending; next when none is.
func (q *queue[T]) low(next uint64) uint64 {
	if len(q.items) == 0 {
		return next
	}
	return q.items[0].home().seq // end leaves no hole at the front
}
