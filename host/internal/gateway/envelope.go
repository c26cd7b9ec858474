package gateway

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/frame"
	"balhost/sdk/message"
)

// Bounds of the texts that name a message, in bytes: those of the ledger. It makes a dead
// letter of what is longer, but here the device is there to be told.
const (
	maxID       = 4 << 10 // of from and message ids
	maxCategory = 1 << 10
)

// upstream is what is to be stored of a frame. wrong, if not nil, says which of its fields
// is of a wrong type.
func (g *Gateway) upstream(who identity, f *frame.Frame, wrong error) (entry.Inbound, *refusal) {
	if wrong != nil {
		return entry.Inbound{}, badField(wrong)
	}
	m := frame.Message{MessageID: f.MessageID, From: f.From, Category: f.Category, Data: f.Data, TimeToLive: f.TimeToLive}
	if string(m.Data) == "null" {
		m.Data = nil
	}
	if err := message.CheckText("data", m.Data); err != nil {
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidJSON, "%v", err))
	}
	if e := m.Check(); e != nil {
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, e)
	}
	g.budget.wait()
	return g.envelope(who, m)
}

// receipt is what is to be stored of a frame.
func (g *Gateway) receipt(who identity, f *frame.Frame, wrong error) (entry.Inbound, *refusal) {
	if wrong != nil {
		return entry.Inbound{}, badField(wrong)
	}
	r := frame.Receipt{OriginalMessageID: f.Original, Status: f.Status, Timestamp: f.Timestamp}
	if e := r.Check(); e != nil {
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, e)
	}
	g.budget.wait()
	return g.proof(who, r)
}

func badField(wrong error) *refusal {
	var field *frame.FieldError
	if errors.As(wrong, &field) {
		return wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidField, "%v", field))
	}
	return wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidJSON, "the message can't be read"))
}

// envelope is m as CCS would have brought it, of who. HTTP and sockets share it.
func (g *Gateway) envelope(who identity, m frame.Message) (entry.Inbound, *refusal) {
	if m.From != "" && m.From != who.from || m.Category != "" && who.category != "" && m.Category != who.category {
		return entry.Inbound{}, wrongRequest(http.StatusForbidden, frame.Wrong(frame.CodeForbidden, "from or category is another than this credential's or this connection's"))
	}
	m.From = who.from
	if who.category != "" {
		m.Category = who.category
	}
	limit := int64(g.o.MaxTTL / time.Second)
	switch {
	case len(m.MessageID) > maxID:
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidField, "message_id has %d bytes: it may have %d", len(m.MessageID), maxID))
	case len(m.Category) > maxCategory:
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidField, "category has %d bytes: it may have %d", len(m.Category), maxCategory))
	case m.TimeToLive != nil && *m.TimeToLive > limit:
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeTTLTooLong,
			"time_to_live is %d s: it may be %d s, because the host forgets message ids after that, and would store a repeat twice", *m.TimeToLive, limit))
	}
	raw, places := m.Envelope()
	u := &message.Upstream{Session: g.o.SenderID, From: m.From, Category: m.Category, MessageID: m.MessageID, Raw: raw}
	if n := len(m.Data); n > 0 {
		u.Data = raw[places.Data : places.Data+n : places.Data+n]
	}
	return entry.Inbound{Places: places, Upstream: u}, nil
}

// proof is a device's receipt as CCS would have brought it.
func (g *Gateway) proof(who identity, r frame.Receipt) (entry.Inbound, *refusal) {
	switch {
	case r.From != "" && r.From != who.from:
		return entry.Inbound{}, wrongRequest(http.StatusForbidden, frame.Wrong(frame.CodeForbidden, "from is another device's than this credential's"))
	case r.Category != "" && who.category != "" && r.Category != who.category:
		return entry.Inbound{}, wrongRequest(http.StatusForbidden, frame.Wrong(frame.CodeForbidden, "category is another than this credential's or this connection's"))
	case len(r.Category) > maxCategory:
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidField, "category has %d bytes: it may have %d", len(r.Category), maxCategory))
	case len(r.OriginalMessageID) > maxID:
		return entry.Inbound{}, wrongRequest(http.StatusBadRequest, frame.Wrong(frame.CodeInvalidField, "original_message_id has %d bytes: it may have %d", len(r.OriginalMessageID), maxID))
	}
	m := &message.Receipt{
		Session: g.o.SenderID, OriginalMessageID: r.OriginalMessageID, Device: who.from, Category: cmp.Or(who.category, r.Category), Status: r.Status,
	}
	if r.Timestamp > 0 {
		m.SentAt = time.UnixMilli(r.Timestamp)
	}
	return entry.Inbound{FromDevice: true, Receipt: m}, nil
}
