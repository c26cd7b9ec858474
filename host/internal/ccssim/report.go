package ccssim

import (
	"cmp"
	"context"
	"slices"
	"time"

	"balhost/host/internal/latency"
	"balhost/host/internal/simnet"
)

// Counts are a server's totals since it started.
type Counts struct {
	Connections  int    `json:"connections"`
	Logins       int    `json:"logins"`        // connections that were bound
	Denied       int    `json:"refused"`       // logins with a wrong key, sender or mechanism
	StreamErrors uint64 `json:"stream_errors"` // stream errors that the server sent
	Cut          int    `json:"cut"`           // connections
	Drained      int    `json:"drained"`       // connections
	Pings        uint64 `json:"pings"`         // from clients
	Keepalives   uint64 `json:"keepalives"`    // spaces that the server sent
	Ignored      uint64 `json:"ignored"`       // stanzas that have no meaning for CCS

	Created       uint64 `json:"created"`     // upstreams made by the load and by Send
	Written       uint64 `json:"written"`     // stanzas with an upstream or a receipt; each writing counts
	Redelivered   uint64 `json:"redelivered"` // of Written, those that were not the first of their message
	Acked         uint64 `json:"acked"`       // upstreams; each counts once
	AckedAgain    uint64 `json:"acked_again"` // further acks of an upstream that was written more than once
	WrongAcks     uint64 `json:"wrong_acks"`  // acks of something that was not outstanding on that connection: the 406
	BadAcks       uint64 `json:"bad_acks"`    // acks that got the nack BAD_ACK
	Expired       uint64 `json:"expired"`     // upstreams that were un-acked for longer than the retention
	Receipts      uint64 `json:"receipts"`    // receipts made
	ReceiptsAcked uint64 `json:"receipts_acked"`

	Downstreams   uint64 `json:"downstreams"`
	AckedDown     uint64 `json:"downstreams_acked"`
	Nacked        uint64 `json:"downstreams_nacked"`
	StanzaErrors  uint64 `json:"downstreams_refused"`    // downstreams that got a stanza error
	Unanswered    uint64 `json:"downstreams_unanswered"` // downstreams that a rule left without an answer
	OverLimit     uint64 `json:"over_limit"`             // downstreams over the limit of unanswered ones: a violation
	DuplicateDown uint64 `json:"downstream_duplicates"`  // downstreams whose device had the same message id before
}

// Report is the state of a server without the long lists. See WriteAcked, Device
// and Transcript for those.
type Report struct {
	Counts
	Run        string          `json:"run"`
	Waiting    int             `json:"waiting"`       // upstreams that are stored, or due from the load, and not in flight
	InFlight   int             `json:"in_flight"`     // un-acked deliveries on open connections
	AckLatency latency.Summary `json:"ack_latency"`   // from the writing of an upstream to its ack, since the load began
	LoadStart  time.Time       `json:"load_start"`    // when the first sender's load began
	LoadMade   int             `json:"load_made"`     // messages of that load so far
	LastAck    time.Time       `json:"last_ack"`      // when an upstream was last acked
	Conns      []ConnReport    `json:"conns"`         // the open ones, and the last 1,000 that have ended
	WrongAckID []WrongAck      `json:"wrong_ack_ids"` // the first 1,000
	Devices    []DeviceReport  `json:"devices"`       // the first 100, each with its last 10 downstreams
	DeviceN    int             `json:"devices_in_all"`
}

// ConnReport is one connection. IDs count from 1 in order of arrival.
type ConnReport struct {
	ID            int    `json:"id"`
	Sender        string `json:"sender"`
	JID           string `json:"jid"`
	State         State  `json:"state"`       // "" when it has ended
	InFlight      int    `json:"in_flight"`   // un-acked deliveries
	Unanswered    int    `json:"unanswered"`  // downstreams now
	Downstreams   uint64 `json:"downstreams"` // downstreams so far
	MaxUnanswered int    `json:"max_unanswered"`
	Acks          uint64 `json:"acks"`
	WrongAcks     uint64 `json:"wrong_acks"`
	OverLimit     uint64 `json:"over_limit"`
}

// WrongAck is an ack of something that was not outstanding on the ack's connection.
type WrongAck struct {
	Conn      int    `json:"conn"`
	To        string `json:"to"`
	MessageID string `json:"message_id"`
}

// Counts are the totals alone. They are cheap enough to poll.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Report is the server's state now.
func (s *Server) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	first := s.accounts[s.opts.SenderID]
	r := Report{
		Counts: s.counts, Run: s.opts.Run,
		AckLatency: s.ackLatency.Summary(),
		LoadStart:  first.load.start, LoadMade: first.load.created, LastAck: s.lastAck,
		Conns: slices.Clone(s.past), WrongAckID: append([]WrongAck{}, s.wrongAcks...), DeviceN: len(s.devices),
	}
	for _, a := range s.accounts {
		r.Waiting += len(a.stored)
		if a.load.set.Rate > 0 || a.load.set.Limit > 0 {
			r.Waiting += a.load.due(now)
		}
	}
	for c := range s.conns {
		open := c.report
		open.State, open.InFlight, open.Unanswered = c.state, c.outstanding, c.unanswered
		r.Conns = append(r.Conns, open)
		r.InFlight += c.outstanding
	}
	slices.SortFunc(r.Conns, func(x, y ConnReport) int { return cmp.Compare(x.ID, y.ID) })
	devices := s.sortedDevices()
	unacked := s.unacked()
	for _, d := range devices[:min(len(devices), 100)] {
		dr := s.reportDevice(d, unacked[d])
		dr.Last = dr.Last[max(0, len(dr.Last)-10):]
		r.Devices = append(r.Devices, dr)
	}
	return r
}

// Transcript is the last stanzas on all connections, oldest first, without
// credentials. Options.Transcript says how many.
func (s *Server) Transcript() []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transcript.lines()
}

// Await waits until ok is true of the counts. It fails with ctx's error.
func (s *Server) Await(ctx context.Context, ok func(Counts) bool) error {
	return simnet.Await(ctx, s.Counts, ok)
}
