package ccssim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Upstream is one message that the client gets, as if a device had sent it.
type Upstream struct {
	Sender    string          `json:"sender"`     // whose client gets it; "" means the first sender
	From      string          `json:"from"`       // the device's token
	Category  string          `json:"category"`   // "" leaves the field out
	MessageID string          `json:"message_id"` // "" makes one; the same id may be sent again, as devices do
	Data      json.RawMessage `json:"data"`       // nil leaves the field out
	Payload   string          `json:"payload"`    // the payload's bytes, in place of the JSON of the fields above; From and MessageID must still be those that the ack names
	Stanza    string          `json:"stanza"`     // the stanza's bytes, in place of all of it
	Bytes     []byte          `json:"bytes"`      // as Stanza, for bytes that are not UTF-8; base64 in JSON
	AckFrom   json.RawMessage `json:"ack_from"`   // the "to" of its ack, if not the string From
	AckID     json.RawMessage `json:"ack_id"`     // the "message_id" of its ack, if not the string MessageID: 42, or "\ud83d"
}

// item is one upstream or receipt. While it is un-acked, it is in its account's
// stored list or in the inflight of a connection (promise P0 holds here too).
type item struct {
	seq     uint64 // order of creation
	dev     *device
	from    string // the "to" of its ack: the token, or gcm.googleapis.com for a receipt
	id      string
	n       uint64    // the device's number for a message of the load; else 0
	shape   *shape    // the encoding of a message of the load, which has the same bytes each time
	text    []byte    // the payload as XML text, for other messages
	stanza  []byte    // the whole stanza, in place of shape and text
	created time.Time // for the retention
	receipt bool
	acked   bool
	then    func(now time.Time) // called when it is written for the first time; may be nil
	written int                 // how often it was written, on all connections
	flying  int                 // outstanding deliveries, on all connections
}

// delivery is one writing of an item on one connection. Each needs its own ack.
type delivery struct {
	item  *item
	at    time.Time
	acked bool
	next  *delivery // a later one with the same ackKey
}

// ackKey is what an ack names.
type ackKey struct{ to, id string }

// Upstream queues a device's message and returns the message id. It panics if from is
// "", or if data can't be marshalled to JSON.
func (s *Server) Upstream(from, category string, data any) (messageID string) {
	id, err := s.Send(Upstream{From: from, Category: category, Data: encode(data)})
	if err != nil {
		panic("ccssim: " + err.Error())
	}
	return id
}

// Send queues an upstream for the first connection of its sender that has room. The
// server keeps it until it is acked, or for 24 h.
func (s *Server) Send(u Upstream) (messageID string, err error) {
	if u.From == "" {
		return "", errors.New("upstream without its device's token (from)")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.account(u.Sender)
	if err != nil {
		return "", err
	}
	s.seq++
	if u.MessageID == "" {
		u.MessageID = "u-" + s.opts.Run + "-" + strconv.FormatUint(s.seq, 10)
	}
	payload := []byte(u.Payload)
	if u.Payload == "" {
		payload, err = json.Marshal(struct {
			Data      json.RawMessage `json:"data,omitempty"`
			From      string          `json:"from"`
			MessageID string          `json:"message_id"`
			Category  string          `json:"category,omitempty"`
		}{u.Data, u.From, u.MessageID, u.Category})
		if err != nil {
			return "", fmt.Errorf("upstream's data: %w", err)
		}
	}
	it := &item{seq: s.seq, dev: s.device(u.From), from: u.From, id: u.MessageID, created: time.Now()}
	if it.stanza = u.Bytes; u.Stanza != "" {
		it.stanza = []byte(u.Stanza)
	}
	if it.stanza == nil {
		if it.text, err = xmlText(payload); err != nil {
			return "", err
		}
	}
	if u.AckFrom != nil {
		it.from = nameOf(u.AckFrom)
	}
	if u.AckID != nil {
		it.id = nameOf(u.AckID)
	}
	a.stored = append(a.stored, it)
	s.counts.Created++
	a.wake()
	return u.MessageID, nil
}

// retention is how long an un-acked upstream is kept (ccs-protocol.md §5).
const retention = 24 * time.Hour

// next is the upstream to write next for a, or nil. Queued upstreams go first, then
// new messages of the load.
func (s *Server) next(a *account, now time.Time) *item {
	for len(a.stored) > 0 {
		it := a.stored[0]
		a.stored[0] = nil
		a.stored = a.stored[1:]
		if now.Sub(it.created) <= retention {
			return it
		}
		s.counts.Expired++
	}
	if a.load.due(now) == 0 {
		return nil
	}
	s.seq++
	s.counts.Created++
	it := a.load.create(s.opts.Run)
	it.seq, it.created = s.seq, now
	return it
}

// deliver appends the stanza for an item. The delivery counts in the window until
// it is acked.
func (c *conn) deliver(dst []byte, it *item, now time.Time) []byte {
	from := len(dst)
	switch {
	case it.stanza != nil:
		dst = append(dst, it.stanza...)
	case it.shape != nil:
		dst = append(it.shape.appendPayload(append(dst, c.head...), it), tailGCM...)
	default:
		dst = append(append(append(dst, c.head...), it.text...), tailGCM...)
	}

	k := ackKey{it.from, it.id}
	d := &delivery{item: it, at: now}
	if first := c.inflight[k]; first == nil {
		c.inflight[k] = d
	} else {
		for ; first.next != nil; first = first.next {
		}
		first.next = d
	}
	if c.srv.opts.ResendAfter > 0 {
		c.resends = append(c.resends, d)
	}
	if it.then != nil {
		it.then(now)
		it.then = nil
	}
	c.outstanding++
	it.flying++
	if it.written++; it.written > 1 {
		c.srv.counts.Redelivered++
	}
	c.srv.counts.Written++
	c.srv.transcript.add(now, c.id, true, dst[from:])
	return dst
}

// overdue is the next upstream that Options.ResendAfter writes again, or nil.
func (c *conn) overdue(now time.Time) *item {
	for len(c.resends) > 0 && c.outstanding < c.srv.opts.Window {
		d := c.resends[0]
		if !d.acked && now.Sub(d.at) < c.srv.opts.ResendAfter {
			break
		}
		c.resends[0] = nil
		c.resends = c.resends[1:]
		if !d.acked {
			return d.item
		}
	}
	return nil
}

// ack ends one delivery. It reports false if none is outstanding on this connection
// that to and id name. Spec: ccs-protocol.md §5 rule 1, §6 for receipts.
func (c *conn) ack(to, id []byte, now time.Time) bool {
	d := c.inflight[ackKey{string(to), string(id)}]
	if d == nil {
		if d = c.inflight[ackKey{gcmDomain, string(id)}]; d == nil || d.item.dev.token != string(to) {
			return false
		}
	}
	it := d.item
	d.acked = true
	if d.next == nil {
		delete(c.inflight, ackKey{it.from, it.id})
	} else {
		c.inflight[ackKey{it.from, it.id}] = d.next
	}
	c.outstanding--
	it.flying--
	s := c.srv
	s.ackLatency.Add(now.Sub(d.at))
	c.report.Acks++
	switch {
	case it.acked:
		s.counts.AckedAgain++
	case it.receipt:
		it.acked = true
		s.counts.ReceiptsAcked++
	default:
		it.acked = true
		s.counts.Acked++
		s.lastAck = now
		it.dev.ack(it)
	}
	return true
}

// requeue stores the connection's un-acked items again, in order of creation. It
// leaves out an item that is in flight on another connection, or that another
// delivery's ack has ended. It is idempotent.
func (c *conn) requeue() {
	var back []*item
	for _, d := range c.inflight {
		for ; d != nil; d = d.next {
			if d.item.flying--; d.item.flying == 0 && !d.item.acked {
				back = append(back, d.item)
			}
		}
	}
	clear(c.inflight)
	c.outstanding, c.resends = 0, nil
	if len(back) == 0 {
		return
	}
	c.acct.stored = append(back, c.acct.stored...)
	slices.SortFunc(c.acct.stored, bySeq)
	c.acct.wake()
}

func bySeq(x, y *item) int { return cmp.Compare(x.seq, y.seq) }
