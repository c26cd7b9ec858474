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

// maxID is how many bytes the id of an iq may have: the answer repeats it.
const maxID = 1 << 10

// read is the reading goroutine. It ends when nothing more can be read.
func (c *conn) read(st *stream) {
	err := c.s.hide(c.stanzas(st))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		o := &c.s.o
		err = fmt.Errorf("nothing heard for %v, although pinged: %w", o.PingInterval+o.PingTimeout, err)
	}
	c.box.put(func(m *mail) { m.ended = err })
}

// stanzas handles what comes, up to the error that ends the stream. A stream error is
// CCS's last word. If more follows, it was no stream error: CCS did not escape the text
// of a device's message.
func (c *conn) stanzas(r *stream) error {
	var last *xmpp.StreamError
	for {
		c.box.await()
		element, err := r.Next()
		if errors.Is(err, errUnfinished) {
			r.Resync()
			continue
		}
		var bad *xmpp.BrokenError
		if last != nil {
			if err != nil && !errors.As(err, &bad) && !errors.As(err, new(*xmpp.TooLargeError)) {
				return last
			}
			c.s.odd(brokenXML, "a stream error that more follows: "+last.Error())
			last, r.w.hush = nil, time.Time{}
		}
		if broken := errors.As(err, &bad); !broken || !bad.Between {
			c.heard.Store(int64(time.Since(c.born)))
		}
		var big *xmpp.TooLargeError
		switch {
		case err == nil:
		case bad != nil && bad.Between:
			c.s.odd(brokenXML, fmt.Sprintf("between stanzas: %v: %s", err, c.s.excerpt(bad.Raw)))
			continue
		case bad != nil:
			c.broken(bad.Raw, err.Error())
			continue
		case errors.As(err, &big):
			c.large(big)
			continue
		default:
			return err
		}
		st, err := r.Parse(element)
		var fault xmpp.Fault
		switch {
		case errors.As(err, &fault):
			c.broken(element, err.Error())
		case errors.As(err, &last):
			r.w.hush = time.Now().Add(unfinishedFor)
		case err != nil:
			return err
		default:
			c.stanza(&st, element)
		}
	}
}

// stanza handles one stanza by its kind. An unknown one is no error (ccs-protocol.md §2).
func (c *conn) stanza(st *xmpp.Stanza, element []byte) {
	switch {
	case st.Kind == xmpp.Message && st.Type == "error":
		rejection := st.Err
		if rejection == nil {
			rejection = &xmpp.StanzaError{}
		}
		c.rejected(answer{id: st.ID, rejection: rejection}, rejection.Condition != "", append([][]byte{st.GCM}, st.More...), element)
	case st.Kind == xmpp.Message && st.Odd != "":
		c.broken(element, st.Odd)
	case st.Kind == xmpp.Message && st.GCM != nil:
		c.payload(st.GCM, nil)
		for _, b := range st.More {
			c.payload(b, nil)
		}
	case st.Kind == xmpp.IQ && (st.Type == "result" || st.Type == "error"): // to a ping
		c.stray(element)
	case st.Kind == xmpp.IQ:
		c.stray(element)
		q := request{id: st.ID, from: st.From, ping: st.Ping}
		if len(q.id) > maxID {
			c.s.odd(tooLarge, fmt.Sprintf("an iq whose id has %d bytes", len(q.id)))
			return
		}
		if len(q.from) > maxID { // then the answer goes to the server
			q.from = ""
		}
		c.box.put(func(m *mail) {
			m.asked = append(m.asked, q)
			m.bytes += len(element)
		})
	case st.Kind == xmpp.Presence: // it tells us nothing
		c.stray(element)
	case st.Name.Local == "message", st.Name.Local == "gcm":
		c.broken(element, "it has no payload that is known")
	case !c.stray(element):
		c.s.odd(unknownStanza, c.s.excerpt(element))
	}
}

// payload handles the JSON of a stanza; w is set when the stanza is broken. b is valid
// until the next stanza is read.
func (c *conn) payload(b []byte, w *wreck) {
	raw := b
	if w == nil {
		raw = bytes.Clone(b) // the frame points into it and goes to the ledger
	}
	f, err := fcm.Decode(raw)
	c.frame(f, err, raw, w)
}

// frame handles f, which was decoded from raw, the JSON of a stanza.
func (c *conn) frame(f fcm.Frame, err error, raw []byte, w *wreck) {
	read := time.Now()
	var bad *fcm.DecodeError
	switch {
	case errors.As(err, &bad) && w != nil:
		bad.Reason = w.why + "; " + bad.Reason
		c.unusable(bad, w.raw, read)
	case errors.As(err, &bad):
		c.unusable(bad, raw, read)
	case err != nil:
		c.unusable(&fcm.DecodeError{Kind: fcm.Upstream, Reason: err.Error()}, raw, read)
	case w != nil && (f.Kind == fcm.Upstream || f.Kind == fcm.Receipt):
		c.unusable(&fcm.DecodeError{Kind: f.Kind, From: f.From, MessageID: f.MessageID, Reason: w.why}, w.raw, read)
	case f.Kind == fcm.Upstream:
		c.submit(entry.Inbound{Names: names(f.From, f.MessageID), Places: f.Places, Upstream: &message.Upstream{
			Session: c.s.o.SenderID, From: f.From.Text, Category: f.Category, MessageID: f.MessageID.Text, Data: f.Data, Raw: raw,
		}}, ack{f.From, f.MessageID, read}, len(raw))
	case f.Kind == fcm.Receipt:
		c.submit(entry.Inbound{CCSMessageID: f.MessageID.Text, Receipt: &message.Receipt{
			Session: c.s.o.SenderID, OriginalMessageID: f.Receipt.OriginalMessageID, Device: f.Receipt.Device,
			Category: f.Category, Status: f.Receipt.Status, SentAt: f.Receipt.SentAt,
		}}, ack{f.From, f.MessageID, read}, len(raw)) // with its full id and to its from: ccs-protocol.md §6
	case f.Kind == fcm.Ack:
		c.box.answer(answer{id: f.MessageID.Text, token: f.RegistrationID}, len(raw))
	case f.Kind == fcm.Nack:
		c.nacked(answer{id: f.MessageID.Text, code: f.Code, description: f.Description, echo: echo{to: f.From.Text}}, len(raw))
	case f.Kind == fcm.Control && f.ControlType == fcm.ConnectionDraining:
		c.box.put(func(m *mail) { m.drain = true })
	case f.Kind == fcm.Control:
		c.s.odd(unknownType, "control "+c.s.excerpt(raw))
	default:
		c.s.odd(unknownType, c.s.excerpt(raw))
	}
}

// names are entry.Inbound.Names.
func names(from, messageID fcm.Name) string {
	if from.JSON == "" && messageID.JSON == "" {
		return ""
	}
	return from.JSON + "\n" + messageID.JSON
}

// submit hands an upstream or a receipt with size bytes of payload to the ledger, and
// does not wait. After the commit the callback puts the ack into this connection's
// box, and into no other's. The connection's line keeps what it brings in order: what the
// ledger has already is not stored after one that found no room (P1).
func (c *conn) submit(in entry.Inbound, a ack, size int) {
	c.s.counts.upstreams.Add(1)
	if !c.box.admit(a.read, size) {
		return
	}
	in.Line, in.Via = &c.line, message.CCS
	c.s.o.Inbox.Accept(in, func(err error) { c.box.decided(a, size, err) })
}
