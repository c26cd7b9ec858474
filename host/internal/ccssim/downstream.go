package ccssim

import (
	"bytes"
	"container/heap"
	"strconv"
	"time"

	"balhost/host/internal/xmpp"
)

// errOver ends a stream whose client has too many unanswered downstreams.
var errOver = &endError{"policy-violation", "more downstreams unanswered than allowed"}

// stanza handles one element of a bound stream.
func (c *conn) stanza(element []byte) error {
	s := c.srv
	now := time.Now()
	s.mu.Lock()
	lost := c.state == StateLost
	if !lost {
		s.transcript.add(now, c.id, false, element)
	}
	s.mu.Unlock()
	if lost {
		return nil // it came before the cut, but is handled after it
	}
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
		if st.Ping || bytes.Contains(element, []byte(nsSession)) {
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
	return c.downstream(st, m, err, now)
}

// downstream answers a downstream. invalid is the error from decode. srv.mu must
// be held. An error ends the stream.
func (c *conn) downstream(st xmpp.Stanza, m downstream, invalid error, now time.Time) error {
	s := c.srv
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
	switch rule, ruled := s.ruleFor(m, invalid, over, c.drain != nil); {
	case m.id == "":
		s.counts.StanzaErrors++
		c.reply(stanzaError(st.ID, c.jid, st.GCM, "400", "bad-request", "InvalidJson: JSON_PARSING_ERROR : "+invalid.Error()), now, nil)
	case ruled && rule.StreamError != "":
		return &endError{rule.StreamError, "a rule ends the stream: " + rule.StreamError}
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

// awaitRoom waits until a reply has been written, for OverStop. It reports false
// if the connection has ended. It unlocks srv.mu while it waits.
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

// acked handles an ack. An ack of something that is not outstanding on this
// connection gets the stanza error 406 (ccs-protocol.md §4.2). The stream goes on.
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
	c.out = append(c.out, stanzaError(st.ID, c.jid, st.GCM, "406", "not-acceptable", "message "+string(id)+" was not sent on this connection, or is acked already"))
}

// accept acks a downstream, gives it to its device, and makes a receipt if the
// downstream asks for one.
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
		if s.opts.OnReceive != nil {
			s.opts.OnReceive(token, d.received[len(d.received)-1])
		}
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

// receipt is the delivery receipt for a downstream. It is nil if XML can't carry
// the id, which a client can send as a JSON escape. Spec: ccs-protocol.md §6.
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

// reply queues the reply to one downstream. It is due after Options.AckDelay. then
// is called as pending says.
func (c *conn) reply(stanza []byte, now time.Time, then func(time.Time)) {
	s := c.srv
	s.seq++
	delay := s.opts.AckDelay.Min
	if span := s.opts.AckDelay.Max - delay; span > 0 {
		delay += time.Duration(s.rnd.Int64N(int64(span)))
	}
	heap.Push(&c.replies, pending{due: now.Add(delay), seq: s.seq, stanza: stanza, then: then})
}
