package ccs

import (
	"sync/atomic"
	"time"

	"balhost/host/internal/latency"
	"balhost/host/internal/status"
)

// counts are a session's totals since the start.
type counts struct {
	upstreams, upstreamsAcked  atomic.Uint64
	downstreams, acked, nacked atomic.Uint64
	odd                        [oddities]atomic.Uint64
}

// Status is a session at one moment. Counters count since the start.
type Status struct {
	Name, SenderID, Address string

	Upstreams      uint64 // read, repeats and receipts included
	UpstreamsAcked uint64 // stored, and acked to CCS
	Downstreams    uint64 // written to CCS, repeats included
	Acked, Nacked  uint64 // of these, by CCS
	Unusable       uint64 // payloads that could not be understood
	TooLarge       uint64 // stanzas that were skipped, and upstreams that no commit can hold
	StanzaErrors   uint64 // about no downstream in flight: CCS rejected acks
	LateAnswers    uint64 // to something that is not in flight
	UnknownStanzas uint64
	UnknownTypes   uint64 // payloads with an unknown message_type or control_type
	Broken         uint64 // stanzas that are no XML, or no message as CCS writes it

	AckLatency  latency.Summary
	Connections []Connection // oldest first; that of a slot in its backoff waits
	LastError   error        // why the last connection ended that was not asked to; nil: none did
	LastErrorAt time.Time
	Contest     Contest           // with another client of the sender
	Recent      []status.Unusable // the last unusable payloads, newest first
}

// Connection is one connection at one moment.
type Connection struct {
	status.Connection
	UnackedSince time.Time // of the oldest that is not acked
	NotStored    error     // why upstreams are not stored; nil when they are
}

// Status is the session's state now.
func (s *Session) Status() Status {
	st := Status{
		Name: s.o.Name, SenderID: s.o.SenderID, Address: s.o.Address,
		Upstreams:      s.counts.upstreams.Load(),
		UpstreamsAcked: s.counts.upstreamsAcked.Load(),
		Downstreams:    s.counts.downstreams.Load(),
		Acked:          s.counts.acked.Load(),
		Nacked:         s.counts.nacked.Load(),
		Unusable:       s.counts.odd[unusablePayload].Load(),
		TooLarge:       s.counts.odd[tooLarge].Load(),
		StanzaErrors:   s.counts.odd[stanzaError].Load(),
		LateAnswers:    s.counts.odd[lateAnswer].Load(),
		UnknownStanzas: s.counts.odd[unknownStanza].Load(),
		UnknownTypes:   s.counts.odd[unknownType].Load(),
		Broken:         s.counts.odd[brokenXML].Load(),
		AckLatency:     s.latency.Summary(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		st.Connections = append(st.Connections, c.status())
	}
	st.LastError, st.LastErrorAt, st.Contest = s.err, s.errAt, s.admission.contest.now
	for i := len(s.recent) - 1; i >= 0; i-- {
		st.Recent = append(st.Recent, s.recent[i])
	}
	return st
}

// status is c's; the session's mu is held.
func (c *conn) status() Connection {
	st := Connection{Connection: status.Connection{
		Number: c.number, State: c.state, Since: c.since, Address: c.addr, Window: c.s.o.Window,
		InFlight: int(c.inFlight.Load()), Unackable: int(c.holes.Load()),
	}}
	if st.Unacked, st.UnackedSince, st.NotStored = c.box.unacked(); st.NotStored != nil {
		st.Refused = st.NotStored.Error()
	}
	opens, now := c.s.admission.opens(c.slot), time.Now()
	if c.state == Waiting && opens.After(now) {
		st.NextTry, st.NextTryIn = opens, opens.Sub(now).Seconds() // else it waits for its turn, or for a place
	}
	return st
}

// acked notes how long each ack took; they were just written.
func (s *Session) acked(number int, acks []ack) {
	now, worst := time.Now(), time.Duration(0)
	for _, a := range acks {
		d := now.Sub(a.read)
		s.latency.Add(d)
		s.metrics.ack.Observe(d.Seconds())
		worst = max(worst, d)
	}
	s.counts.upstreamsAcked.Add(uint64(len(acks)))
	if worst > s.o.AckWarn {
		s.said.Log(s.o.Log.Warn, "acks are slow", "conn", number, "took", worst)
	}
}
