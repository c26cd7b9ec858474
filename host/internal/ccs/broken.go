package ccs

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/fcm"
	"balhost/host/internal/xmpp"
	"balhost/sdk/message"
)

// stray handles a payload in an element where CCS puts none: the sender may wait for
// an ack all the same. It reports whether there is one.
func (c *conn) stray(element []byte) bool {
	r := xmpp.Salvage(element)
	if !r.Tagged {
		switch r.Name {
		case "iq", "presence":
			return false
		}
		f, err := fcm.Decode(r.Payloads[0])
		if from, id := named(f, err); !from.Given() || !id.Given() {
			return false
		}
	}
	c.broken(element, "a payload in an element that is no message: "+clip(r.Name))
	return true
}

// named are the names that a payload from a device has. Payloads of ours have none:
// they say "to", not "from".
func named(f fcm.Frame, err error) (from, id fcm.Name) {
	if bad, ok := errors.AsType[*fcm.DecodeError](err); ok {
		return bad.From, bad.MessageID
	}
	if f.Kind == fcm.Upstream || f.Kind == fcm.Receipt {
		return f.From, f.MessageID
	}
	return fcm.Name{}, fcm.Name{}
}

// rejected handles a stanza of type "error"; stated: it has an error element. Mostly
// it returns a payload of ours that CCS does not take. A payload with "from" is not
// ours, whatever the stanza's id: it is a device's message, and CCS may wait for its
// ack. It is acked only when no error is stated: ccs-protocol.md §4.2.
func (c *conn) rejected(a answer, stated bool, payloads [][]byte, element []byte) {
	const why = `it came in a stanza of type "error"`
	upstream := false
	for _, b := range payloads {
		f, err := fcm.Decode(b)
		from, id := named(f, err)
		if !from.Given() {
			continue
		}
		upstream = true
		c.s.odd(brokenXML, why+": "+c.s.excerpt(element))
		if stated {
			c.hole(from, id, why+" that states an error")
		} else {
			c.payload(b, &wreck{bytes.Clone(element), why})
		}
	}
	switch {
	case !upstream:
		a.echo = echoed(payloads[0])
	case a.id == "":
		return
	}
	c.box.answer(a, len(element))
}

// statesError reports whether a stanza that can't be parsed has an error element
// beside its payload.
func statesError(element []byte) bool {
	const payload, reason = "gcm", "<error"
	first, last := bytes.Index(element, []byte(payload)), bytes.LastIndex(element, []byte(payload))
	return bytes.Contains(element[:max(first, 0)], []byte(reason)) || bytes.Contains(element[last+1:], []byte(reason))
}

// wreck is a stanza that is not well-formed, too large, or has its payload in an odd
// place.
type wreck struct {
	raw []byte
	why string // what is wrong with it
}

// broken handles a stanza that is not as it should be. Its payload is used as far as
// it can be read: an answer counts, and an upstream is acked, because CCS waits for
// that. But it becomes a dead letter: no plugin gets what may be misread.
func (c *conn) broken(element []byte, why string) {
	why = c.s.secrets.Text(why)
	c.s.odd(brokenXML, why+": "+c.s.excerpt(element))
	r := xmpp.Salvage(element)
	if r.Name == "message" && r.Type == "error" {
		c.rejected(answer{id: r.ID, rejection: &xmpp.StanzaError{Text: why}}, statesError(element), r.Payloads, element)
		return
	}
	w := &wreck{bytes.Clone(element), why}
	for _, b := range r.Payloads {
		if r.Name == "message" || r.Tagged || bytes.IndexByte(b, '{') >= 0 {
			c.payload(b, w)
		}
	}
}

// large handles a stanza over the limit, of which only the two ends are known. CCS
// writes the ids of an upstream behind its data, others may write them in front.
func (c *conn) large(big *xmpp.TooLargeError) {
	c.s.odd(tooLarge, big.Error())
	head, tail := xmpp.Salvage(big.Head), xmpp.Salvage(append([]byte("<gcm>"), big.Tail...))
	last := len(head.Payloads) - 1 // most likely the one that is cut
	switch {
	case !head.Tagged && (head.Name == "iq" || head.Name == "presence"): // CCS waits for no ack of these
		return
	case !bytes.HasSuffix(big.Tail, []byte(">")): // it is cut off, so the tail is not its end
		tail.Payloads[0] = nil
	}
	w := &wreck{entry.Cut(big.Head, big.Tail, int(big.Size)), big.Error()}
	if head.Name == "message" && head.Type == "error" {
		f, err := fcm.DecodeEnds(head.Payloads[last], tail.Payloads[0])
		from, id := named(f, err)
		if !from.Given() || head.ID != "" {
			c.box.answer(answer{id: head.ID, rejection: &xmpp.StanzaError{Text: big.Error()}}, len(big.Head))
		}
		switch {
		case !from.Given():
			return
		case statesError(big.Head) || statesError(big.Tail):
			c.hole(from, id, big.Error()+" that states an error")
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

// unusable keeps what nobody can handle as a dead letter, and acks it, if it has the
// names for that. Without them it can't be acked: if CCS waits for the ack, it holds a
// slot of CCS's window until the connection ends.
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

// excerpt is the beginning of b for a log line.
func (s *Session) excerpt(b []byte) string {
	const enough = 200
	shown := s.secrets.Start(b, enough)
	if len(b) > enough {
		return fmt.Sprintf("%q… (%d bytes)", shown, len(b))
	}
	return fmt.Sprintf("%q", shown)
}
