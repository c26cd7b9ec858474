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
func (c *conn) read(st *stream) {
	err := c.s.hide(c.stanzas(st))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		o := &c.s.o
		err = fmt.Errorf("nothing heard for %v, although pinged: %w", o.PingInterval+o.PingTimeout, err)
	}
	c.box.put(func(m *mail) { m.ended = err })
}

// stanzas handles what comes, up to the error that ends it. A stream error is CCS's
// last word. One that more follows stood in the text of a device's message which CCS
// has not escaped: it ends nothing.
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
			c.s.odd(brokenXML, "a stream error, and more behind it: "+last.Error())
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

// stanza dispatches on what came. Nothing that is unknown is an error (ccs-protocol.md §2).
func (c *conn) stanza(st *xmpp.Stanza, element []byte) {
	switch {
	case st.Kind == xmpp.Message && st.Type == "error":
		refusal := st.Err
		if refusal == nil {
			refusal = &xmpp.StanzaError{}
		}
		c.refused(answer{id: st.ID, refusal: refusal}, refusal.Condition != "", append([][]byte{st.GCM}, st.More...), element)
	case st.Kind == xmpp.Message && st.Odd != "":
		c.broken(element, st.Odd)
	case st.Kind == xmpp.Message && st.GCM != nil:
		c.payload(st.GCM, nil)
		for _, b := range st.More {
			c.payload(b, nil)
		}
	case st.Kind == xmpp.IQ && (st.Type == "result" || st.Type == "error"): // of a ping
		c.stray(element)
	case st.Kind == xmpp.IQ:
		c.stray(element)
		q := request{id: st.ID, from: st.From, ping: st.Ping}
		if len(q.id) > maxID {
			c.s.odd(tooLarge, fmt.Sprintf("an iq whose id has %d bytes", len(q.id)))
			return
		}
		if len(q.from) > maxID { // the server itself is asked then
			q.from = ""
		}
		c.box.put(func(m *mail) {
			m.asked = append(m.asked, q)
			m.bytes += len(element)
		})
	case st.Kind == xmpp.Presence: // says nothing that we need
		c.stray(element)
	case st.Name.Local == "message", st.Name.Local == "gcm":
		c.broken(element, "no payload that is known")
	case !c.stray(element):
		c.s.odd(unknownStanza, c.s.excerpt(element))
	}
}

// stray handles a payload in an element that CCS puts none into: who sends such
// things may wait for an ack all the same. It reports whether there is one.
func (c *conn) stray(element []byte) bool {
	r := xmpp.Salvage(element)
	if !r.Tagged {
		switch r.Name {
		case "iq", "presence":
			return false
		}
		f, err := fcm.Decode(r.Payloads[0])
		if from, id := named(f, err); !from || !id {
			return false
		}
	}
	c.broken(element, "a payload in an element that is no message: "+clip(r.Name))
	return true
}

// named reports which names a payload has that is not one of ours: what we write
// says to whom it goes, and not from whom.
func named(f fcm.Frame, err error) (from, id bool) {
	var bad *fcm.DecodeError
	switch {
	case errors.As(err, &bad):
		return bad.From.Given(), bad.MessageID.Given()
	case f.Kind == fcm.Upstream || f.Kind == fcm.Receipt:
		return f.From.Given(), f.MessageID.Given()
	}
	return false, false
}

// refused handles a stanza of type "error"; stated: it has an error element. Mostly it
// gives back the payload of ours that CCS does not take. One that says from whom it is
// is no word on a downstream, whatever its id, but a message whose ack CCS may wait for.
// What CCS has stated an error about is not acked all the same: ccs-protocol.md §4.2.
func (c *conn) refused(a answer, stated bool, payloads [][]byte, element []byte) {
	const why = `it came in a stanza of type "error"`
	device := false
	for _, b := range payloads {
		f, err := fcm.Decode(b)
		if from, _ := named(f, err); !from {
			continue
		}
		device = true
		c.s.odd(brokenXML, why+": "+c.s.excerpt(element))
		if stated {
			c.bounced(f, err, why)
		} else {
			c.payload(b, &wreck{bytes.Clone(element), why})
		}
	}
	switch {
	case !device:
		a.echo = echoed(payloads[0])
	case a.id == "":
		return
	}
	c.box.answer(a, len(element))
}

// bounced notes a device's message that CCS has stated an error about.
func (c *conn) bounced(f fcm.Frame, err error, why string) {
	from, id := f.From, f.MessageID
	if bad := (*fcm.DecodeError)(nil); errors.As(err, &bad) {
		from, id = bad.From, bad.MessageID
	}
	c.hole(from, id, why+" that states an error")
}

// states reports whether a stanza that can't be parsed has an error element beside its payload.
func states(element []byte) bool {
	const payload, reason = "gcm", "<error"
	first, last := bytes.Index(element, []byte(payload)), bytes.LastIndex(element, []byte(payload))
	return bytes.Contains(element[:max(first, 0)], []byte(reason)) || bytes.Contains(element[last+1:], []byte(reason))
}

// wreck is a stanza whose payload can be read only in part, or in an odd place.
type wreck struct {
	raw []byte // all of it
	why string // it is none
}

// broken handles a stanza that is not as it should be. What its payload seems to
// be is believed as far as an answer or an ack goes: CCS waits for these,
// and sends again what is not acked. No plugin is given what may not be meant.
func (c *conn) broken(element []byte, why string) {
	why = c.s.secrets.Text(why)
	c.s.odd(brokenXML, why+": "+c.s.excerpt(element))
	r := xmpp.Salvage(element)
	if r.Name == "message" && r.Type == "error" {
		c.refused(answer{id: r.ID, refusal: &xmpp.StanzaError{Text: why}}, states(element), r.Payloads, element)
		return
	}
	w := &wreck{bytes.Clone(element), why}
	for _, b := range r.Payloads {
		if r.Name == "message" || r.Tagged || bytes.IndexByte(b, '{') >= 0 {
			c.payload(b, w)
		}
	}
}

// large handles a stanza over the limit by its two ends. CCS writes the ids of an
// upstream behind its data, others may write them in front of it.
func (c *conn) large(big *xmpp.TooLargeError) {
	c.s.odd(tooLarge, big.Error())
	head, tail := xmpp.Salvage(big.Head), xmpp.Salvage(append([]byte("<gcm>"), big.Tail...))
	last := len(head.Payloads) - 1 // the one that is cut, most likely
	switch {
	case !head.Tagged && (head.Name == "iq" || head.Name == "presence"): // CCS waits for no ack of these
		return
	case !bytes.HasSuffix(big.Tail, []byte(">")): // it lacks its end, so this is anywhere in it
		tail.Payloads[0] = nil
	}
	w := &wreck{entry.Cut(big.Head, big.Tail, int(big.Size)), big.Error()}
	if head.Name == "message" && head.Type == "error" {
		f, err := fcm.DecodeEnds(head.Payloads[last], tail.Payloads[0])
		from, _ := named(f, err)
		if !from || head.ID != "" {
			c.box.answer(answer{id: head.ID, refusal: &xmpp.StanzaError{Text: big.Error()}}, len(big.Head))
		}
		switch {
		case !from:
			return
		case states(big.Head) || states(big.Tail):
			c.bounced(f, err, big.Error())
			return
		}
	}
	for _, b := range head.Payloads[:last] {
		c.payload(b, w)
	}
	f, err := fcm.DecodeEnds(head.Payloads[last], tail.Payloads[0])
	c.frame(f, err, w.raw, w)
	for _, b := range tail.Payloads[1:] {
		c.payload(b, w)
	}
}

// payload handles the JSON of a stanza, and of w if that is broken. b lives until
// the next stanza only.
func (c *conn) payload(b []byte, w *wreck) {
	raw := b
	if w == nil {
		raw = bytes.Clone(b) // what the frame refers to goes to the ledger
	}
	f, err := fcm.Decode(raw)
	c.frame(f, err, raw, w)
}

// frame handles what raw, the JSON of a stanza, is read as.
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
	bad.Reason = c.s.secrets.Text(bad.Reason)
	if bad.Kind == fcm.Unknown {
		c.s.odd(unknownType, bad.Reason+": "+c.s.excerpt(raw))
	} else {
		c.s.odd(unusablePayload, bad.Reason+": "+c.s.excerpt(raw))
	}
	if !bad.From.Given() || !bad.MessageID.Given() {
		if bad.Awaited() {
			c.hole(bad.From, bad.MessageID, bad.Reason)
		} else {
			c.s.remember(read, bad.From.Text, bad.MessageID.Text, bad.Reason)
		}
		return
	}
	c.s.remember(read, bad.From.Text, bad.MessageID.Text, bad.Reason)
	c.submit(entry.Inbound{Unusable: bad.Reason, Names: names(bad.From, bad.MessageID), Upstream: &message.Upstream{
		Session: c.s.o.SenderID, From: bad.From.Text, MessageID: bad.MessageID.Text, Raw: raw,
	}}, ack{bad.From, bad.MessageID, read}, len(raw))
}

// excerpt shows the beginning of b in a log line.
func (s *Session) excerpt(b []byte) string {
	const enough = 200
	shown := s.secrets.Start(b, enough)
	if len(b) > enough {
		return fmt.Sprintf("%q… (%d bytes)", shown, len(b))
	}
	return fmt.Sprintf("%q", shown)
}
