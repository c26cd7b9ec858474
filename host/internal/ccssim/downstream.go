package ccssim

import (
	"bytes"
	"container/heap"
	"errors"
	"path"
	"strconv"
	"time"

	"balhost/host/internal/xmpp"
)

// errOver: the client sent a downstream past its limit, and OverClose is set.
var errOver = errors.New("more downstreams unanswered than allowed")

// Nack answers downstreams with an error in place of an ack.
type Nack struct {
	Count       int     `json:"count"`        // of the next ones; 0 is one, negative all to come
	Code        string  `json:"code"`         // ccs-protocol.md §4.1; "" never answers at all
	Description string  `json:"description"`  // error_description
	Token       string  `json:"token"`        // only downstreams to it; * and ? match as in path.Match; "" is all
	StreamError string  `json:"stream_error"` // end the stream by this condition instead, as CCS does over bytes that it can't read
	Cut         CutMode `json:"cut"`          // lose the connection instead, this way
}

// poisonError: a downstream met a rule with StreamError.
type poisonError struct{ condition string }

func (e *poisonError) Error() string { return "a rule ends the stream: " + e.condition }

// NackNext makes the server nack the next n downstreams, on whatever connection.
func (s *Server) NackNext(n int, code, description string) {
	s.Nack(Nack{Count: n, Code: code, Description: description})
}

// Nack adds a rule; the first that matches a downstream is used.
func (s *Server) Nack(n Nack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Count == 0 {
		n.Count = 1
	}
	s.rules = append(s.rules, n)
}

// ClearNacks removes all rules.
func (s *Server) ClearNacks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// rule takes one use of the rule for a target.
func (s *Server) rule(target string) (Nack, bool) {
	for i := range s.rules {
		r := &s.rules[i]
		if r.Count == 0 {
			continue
		}
		if ok, err := path.Match(r.Token, target); r.Token != "" && r.Token != target && (!ok || err != nil) {
			continue
		}
		if r.Count > 0 {
			r.Count--
		}
		return *r, true
	}
	return Nack{}, false
}

// stanza handles one element of a bound stream.
func (c *conn) stanza(element []byte) error {
	s := c.srv
	now := time.Now()
	s.mu.Lock()
	lost := c.state == StateLost
	if !lost {
		s.transcript.add(now, c.id, false, element) // before Parse, which may rewrite it
	}
	s.mu.Unlock()
	if lost {
		return nil // read before the cut, and too late
	}
	session := bytes.Contains(element, []byte(nsSession))
	st, err := c.r.Parse(element)
	if err != nil {
		return err
	}
	switch {
	case st.Kind == xmpp.Message && st.GCM != nil && st.Type != "error":
		return c.message(st, now)
	case st.Kind == xmpp.IQ && st.Type != "result" && st.Type != "error":
		s.mu.Lock()
		defer s.mu.Unlock()
		if st.Ping {
			s.counts.Pings++
		}
		answer := xmpp.AppendIQError
		if st.Ping || session {
			answer = xmpp.AppendIQResult
		}
		c.out = append(c.out, answer(nil, st.ID, c.jid))
	default:
		s.mu.Lock()
		s.counts.Ignored++
		s.mu.Unlock()
	}
	return nil
}

// message handles an ack or a downstream.
func (c *conn) message(st xmpp.Stanza, now time.Time) error {
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state == StateLost {
		return nil
	}
	if to, id, ok := scanAck(st.GCM); ok {
		c.acked(st, to, id, now)
		return nil
	}
	m, err := decode(st.GCM)
	if err == nil && m.isAck {
		if m.fields["to"] == nil || m.fields["message_id"] == nil {
			s.counts.BadAcks++
			c.out = append(c.out, s.answer(nack(m.target, m.id, "BAD_ACK", "an ack needs to and message_id")))
			return nil
		}
		c.acked(st, []byte(m.target), []byte(m.id), now)
		return nil
	}

	s.counts.Downstreams++
	over := c.unanswered >= s.opts.Pending
	if over {
		s.counts.OverLimit++
		c.report.OverLimit++
		switch s.opts.OverLimit {
		case OverClose:
			return errOver
		case OverStop:
			if !c.awaitRoom() {
				return errOver
			}
			over = false
		}
	}
	c.unanswered++
	c.report.Downstreams++
	c.report.MaxUnanswered = max(c.report.MaxUnanswered, c.unanswered)
	switch rule, ruled := s.ruleFor(m, err, over, c.drain != nil); {
	case m.id == "":
		s.counts.StanzaErrors++
		c.reply(stanzaError(st.ID, c.jid, st.GCM, "400", "bad-request", "InvalidJson: JSON_PARSING_ERROR : "+err.Error()), now, nil)
	case ruled && rule.StreamError != "":
		return &poisonError{rule.StreamError}
	case ruled && rule.Cut != "":
		c.kill(rule.Cut)
	case ruled && rule.Code == "":
		s.counts.Unanswered++
	case ruled:
		s.counts.Nacked++
		c.reply(s.answer(nack(m.target, m.id, rule.Code, rule.Description)), now, nil)
	default:
		s.counts.AckedDown++
		c.accept(m, now)
	}
	return nil
}

// ruleFor decides what a downstream gets in place of an ack.
func (s *Server) ruleFor(m downstream, invalid error, over, draining bool) (Nack, bool) {
	switch {
	case over:
		return Nack{Code: "SERVICE_UNAVAILABLE", Description: "more than " + strconv.Itoa(s.opts.Pending) + " pending"}, true
	case draining:
		return Nack{Code: "CONNECTION_DRAINING", Description: "connection is draining"}, true
	case invalid != nil:
		return Nack{Code: "INVALID_JSON", Description: "InvalidJson: " + invalid.Error()}, true
	}
	return s.rule(m.target)
}

// awaitRoom keeps the reader from reading on (OverStop); false when the
// connection has ended. It gives up srv.mu meanwhile.
func (c *conn) awaitRoom() bool {
	for c.unanswered >= c.srv.opts.Pending {
		c.srv.mu.Unlock()
		c.wake()
		select {
		case <-c.answered:
			c.srv.mu.Lock()
		case <-c.stopped:
			c.srv.mu.Lock()
			return false
		}
	}
	return true
}

// acked handles an ack; what isn't outstanding here gets the 406 of
// ccs-protocol.md §4.2, and the stream goes on.
func (c *conn) acked(st xmpp.Stanza, to, id []byte, now time.Time) {
	if c.ack(to, id, now) {
		return
	}
	s := c.srv
	s.counts.WrongAcks++
	c.report.WrongAcks++
	if len(s.wrongAcks) < 1000 {
		s.wrongAcks = append(s.wrongAcks, WrongAck{Conn: c.id, To: string(to), MessageID: string(id)})
	}
	if !s.opts.LenientAcks {
		c.out = append(c.out, stanzaError(st.ID, c.jid, st.GCM, "406", "not-acceptable", "message "+string(id)+" was not sent on this connection, or is acked already"))
	}
}

// accept acks a downstream, gives it to its device, and makes its receipt.
func (c *conn) accept(m downstream, now time.Time) {
	s := c.srv
	r := reply{Type: "ack", From: m.target, MessageID: m.id, RegistrationID: s.canonical[m.target]}
	ack := s.answer(r)
	token := m.target
	if r.RegistrationID != "" {
		token = r.RegistrationID
	}
	var receipt *item
	if !m.dryRun {
		d := s.device(token)
		d.receive(Received{
			MessageID: m.id, Data: m.fields["data"], Notification: m.fields["notification"],
			CollapseKey: m.collapseKey, TTL: m.fields["time_to_live"], Conn: c.id,
		}, s.opts.Remember)
		if d.seen[m.id] > 1 {
			s.counts.DuplicateDown++
		}
		if m.receipt && s.opts.Receipts {
			receipt = s.receipt(d, m.id, now)
		}
	}
	store := func(time.Time) {
		c.acct.stored = append(c.acct.stored, receipt)
		c.acct.wake()
	}
	switch {
	case receipt == nil:
		c.reply(ack, now, nil)
	case s.opts.ReceiptFirst:
		receipt.then = func(now time.Time) {
			if c.state != StateLost {
				c.reply(ack, now, nil)
				c.wake()
			}
		}
		store(now)
	default:
		c.reply(ack, now, store)
	}
}

// receipt is the delivery receipt for a downstream, or nil when XML can't carry
// its id, which came as a JSON escape. Spec: ccs-protocol.md §6.
func (s *Server) receipt(d *device, original string, now time.Time) *item {
	id := "dr2:" + original
	text, err := xmlText(encode(map[string]any{
		"message_type": "receipt", "from": gcmDomain, "message_id": id, "time_to_live": 0,
		"data": map[string]string{
			"message_status": "MESSAGE_SENT_TO_DEVICE", "original_message_id": original,
			"device_registration_id": d.token, "message_sent_timestamp": strconv.FormatInt(now.UnixMilli(), 10),
		},
	}))
	if err != nil {
		return nil
	}
	s.seq++
	s.counts.Receipts++
	return &item{seq: s.seq, dev: d, from: gcmDomain, id: id, text: text, created: now, receipt: true}
}

// reply queues the answer to one downstream for its time; then may be nil.
func (c *conn) reply(stanza []byte, now time.Time, then func(time.Time)) {
	s := c.srv
	s.seq++
	delay := s.opts.AckDelay.Min
	if span := s.opts.AckDelay.Max - delay; span > 0 {
		delay += time.Duration(s.rnd.Int64N(int64(span)))
	}
	heap.Push(&c.replies, pending{due: now.Add(delay), seq: s.seq, stanza: stanza, counted: true, then: then})
}

// scanAck reads the ack that every client writes: three plain strings. False
// is for decode to look at, which takes the same and all else.
func scanAck(b []byte) (to, id []byte, ok bool) {
	var kind []byte
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' || bytes.IndexByte(b, '\\') >= 0 {
		return nil, nil, false
	}
	for rest := b[1 : len(b)-1]; ; rest = rest[1:] {
		parts := [2][]byte{}
		for i := range parts {
			if i == 1 {
				if len(rest) == 0 || rest[0] != ':' {
					return nil, nil, false
				}
				rest = rest[1:]
			}
			if len(rest) == 0 || rest[0] != '"' {
				return nil, nil, false
			}
			end := bytes.IndexByte(rest[1:], '"')
			if end < 0 {
				return nil, nil, false
			}
			parts[i], rest = rest[1:1+end], rest[2+end:]
		}
		switch string(parts[0]) {
		case "to":
			to = parts[1]
		case "message_id":
			id = parts[1]
		case "message_type":
			kind = parts[1]
		default:
			return nil, nil, false
		}
		if len(rest) == 0 {
			return to, id, string(kind) == "ack" && len(to) > 0 && len(id) > 0
		}
		if rest[0] != ',' {
			return nil, nil, false
		}
	}
}
