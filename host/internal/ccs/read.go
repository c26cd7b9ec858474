package ccs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/xmpp"
	"balhost/sdk/message"
)

// maxID is how long the id of an iq may be that is answered, in bytes: the
// answer repeats it.
const maxID = 1 << 10

// read is the reading goroutine: it ends when nothing more can be heard.
func (c *conn) read(r *xmpp.Reader) {
	err := c.stanzas(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		o := &c.s.o
		err = fmt.Errorf("nothing heard for %v, although pinged: %w", o.PingInterval+o.PingTimeout, err)
	}
	c.box.put(func(m *mail) { m.ended = err })
}

func (c *conn) stanzas(r *xmpp.Reader) error {
	for {
		c.box.await()
		element, err := r.Next()
		c.heard.Store(int64(time.Since(c.born)))
		if err != nil {
			var big *xmpp.TooLargeError
			if !errors.As(err, &big) {
				return err
			}
			c.holes.Add(1) // what is so large can only be an upstream, or a receipt
			c.s.odd(tooLarge, err.Error())
			continue
		}
		st, err := r.Parse(element)
		if err != nil {
			return err
		}
		c.stanza(&st, element)
	}
}

// stanza dispatches on what came. Nothing that is unknown is an error (ccs-protocol.md §2).
func (c *conn) stanza(st *xmpp.Stanza, element []byte) {
	switch {
	case st.Kind == xmpp.Message && st.Type == "error":
		refusal := st.Err
		if refusal == nil {
			refusal = &xmpp.StanzaError{}
		}
		c.box.answer(answer{id: st.ID, refusal: refusal, echo: echoed(st.GCM)}, len(element))
	case st.Kind == xmpp.Message && st.GCM != nil:
		c.payload(st.GCM)
	case st.Kind == xmpp.IQ && (st.Type == "result" || st.Type == "error"): // of a ping
	case st.Kind == xmpp.IQ:
		q := request{id: st.ID, from: st.From, ping: st.Ping}
		if len(q.id) > maxID {
			c.s.odd(tooLarge, fmt.Sprintf("an iq whose id has %d bytes", len(q.id)))
			return
		}
		c.box.put(func(m *mail) {
			m.asked = append(m.asked, q)
			m.bytes += len(element)
		})
	case st.Kind == xmpp.Presence: // says nothing that we need
	default:
		c.s.odd(unknownStanza, excerpt(element))
	}
}

// payload handles the JSON of a stanza. b lives until the next stanza only.
func (c *conn) payload(b []byte) {
	read := time.Now()
	raw := bytes.Clone(b) // what the frame refers to goes to the ledger
	f, err := fcm.Decode(raw)
	var bad *fcm.DecodeError
	switch {
	case errors.As(err, &bad):
		c.unusable(bad, raw, read)
	case err != nil:
		c.unusable(&fcm.DecodeError{Reason: err.Error()}, raw, read)
	case f.Kind == fcm.Upstream:
		c.submit(entry.Inbound{Upstream: &message.Upstream{
			Session: c.s.o.SenderID, From: f.From, Category: f.Category, MessageID: f.MessageID, Data: f.Data, Raw: raw,
		}}, ack{f.From, f.MessageID, read}, len(raw))
	case f.Kind == fcm.Receipt:
		c.submit(entry.Inbound{CCSMessageID: f.MessageID, Receipt: &message.Receipt{
			Session: c.s.o.SenderID, OriginalMessageID: f.Receipt.OriginalMessageID, Device: f.Receipt.Device,
			Category: f.Category, Status: f.Receipt.Status, SentAt: f.Receipt.SentAt,
		}}, ack{f.From, f.MessageID, read}, len(raw)) // with its full id and to its from: ccs-protocol.md §6
	case f.Kind == fcm.Ack:
		c.box.answer(answer{id: f.MessageID, token: f.RegistrationID}, len(raw))
	case f.Kind == fcm.Nack:
		c.box.answer(answer{id: f.MessageID, nack: true, code: f.Code, description: f.Description, echo: echo{to: f.From}}, len(raw))
	case f.Kind == fcm.Control && f.ControlType == fcm.ConnectionDraining:
		c.box.put(func(m *mail) { m.drain = true })
	case f.Kind == fcm.Control:
		c.s.odd(unknownType, "control "+excerpt(raw))
	default:
		c.s.odd(unknownType, excerpt(raw))
	}
}

// submit hands an upstream or a receipt, size bytes of payload, to the ledger
// without waiting. The commit's callback puts the ack into this connection's
// box, and no other's (P1).
func (c *conn) submit(in entry.Inbound, a ack, size int) {
	c.s.counts.upstreams.Add(1)
	if !c.box.admit(a.read, size) {
		return
	}
	c.s.o.Inbox.Accept(in, func(err error) { c.box.decided(a, size, err) })
}

// unusable keeps what nobody can handle as a dead letter, and acks it, if it
// says whom to ack. Else, if it asks for an ack, it holds a slot of CCS's window
// until reconnect.
func (c *conn) unusable(bad *fcm.DecodeError, raw []byte, read time.Time) {
	c.s.remember(read, bad.From, bad.MessageID, bad.Reason)
	c.s.odd(unusablePayload, bad.Reason+": "+excerpt(raw))
	if bad.From == "" || bad.MessageID == "" {
		if bad.Kind == fcm.Upstream || bad.Kind == fcm.Receipt {
			c.holes.Add(1)
		}
		return
	}
	c.submit(entry.Inbound{Unusable: bad.Reason, Upstream: &message.Upstream{
		Session: c.s.o.SenderID, From: bad.From, MessageID: bad.MessageID, Raw: raw,
	}}, ack{bad.From, bad.MessageID, read}, len(raw))
}

// excerpt shows the beginning of b in a log line.
func excerpt(b []byte) string {
	const enough = 200
	if len(b) > enough {
		return fmt.Sprintf("%q… (%d bytes)", b[:enough], len(b))
	}
	return fmt.Sprintf("%q", b)
}
