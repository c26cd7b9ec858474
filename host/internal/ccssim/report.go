package ccssim

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Counts are a server's totals since it started.
type Counts struct {
	Connections  int    `json:"connections"`
	Logins       int    `json:"logins"`        // that reached the bind
	Refused      int    `json:"refused"`       // wrong key, sender or mechanism
	StreamErrors uint64 `json:"stream_errors"` // that the server sent
	Cut          int    `json:"cut"`
	Drained      int    `json:"drained"`
	Pings        uint64 `json:"pings"`
	Keepalives   uint64 `json:"keepalives"` // spaces that the server sent
	Ignored      uint64 `json:"ignored"`    // stanzas that mean nothing to CCS

	Created       uint64 `json:"created"`     // upstreams, by devices and by request
	Written       uint64 `json:"written"`     // stanzas with them or a receipt, each time
	Redelivered   uint64 `json:"redelivered"` // of those, not the first of its message
	Acked         uint64 `json:"acked"`       // upstreams, each once
	AckedAgain    uint64 `json:"acked_again"` // further acks, one for each further writing
	WrongAcks     uint64 `json:"wrong_acks"`  // answered by 406: not outstanding on that connection
	BadAcks       uint64 `json:"bad_acks"`    // nacked BAD_ACK
	Expired       uint64 `json:"expired"`     // upstreams un-acked past the retention
	Receipts      uint64 `json:"receipts"`    // made
	ReceiptsAcked uint64 `json:"receipts_acked"`

	Downstreams   uint64 `json:"downstreams"`
	AckedDown     uint64 `json:"downstreams_acked"`
	Nacked        uint64 `json:"downstreams_nacked"`
	StanzaErrors  uint64 `json:"downstreams_refused"`    // by a stanza error
	Unanswered    uint64 `json:"downstreams_unanswered"` // on purpose
	OverLimit     uint64 `json:"over_limit"`             // sent with the limit of unanswered ones reached: a violation
	DuplicateDown uint64 `json:"downstream_duplicates"`  // a device got the same message id again
}

// Report is all of a server's books but the long lists: see WriteAcked, Device
// and Transcript for these.
type Report struct {
	Counts
	Run        string         `json:"run"`
	Waiting    int            `json:"waiting"`       // upstreams not in flight: stored, or due from the load
	InFlight   int            `json:"in_flight"`     // deliveries un-acked on open connections
	AckLatency Latency        `json:"ack_latency"`   // from writing an upstream to its ack, since the load began
	LoadStart  time.Time      `json:"load_start"`    // of the first sender's load
	LoadMade   int            `json:"load_made"`     // messages it has made
	LastAck    time.Time      `json:"last_ack"`      // of an upstream
	Conns      []ConnReport   `json:"conns"`         // open ones and the last 1,000 others
	WrongAckID []WrongAck     `json:"wrong_ack_ids"` // the first 1,000
	Devices    []DeviceReport `json:"devices"`       // the first 100, each with its last 10 downstreams
	DeviceN    int            `json:"devices_in_all"`
}

// ConnReport is one connection. Numbers count from 1 in order of arrival.
type ConnReport struct {
	ID            int    `json:"id"`
	Sender        string `json:"sender"`
	JID           string `json:"jid"`
	State         State  `json:"state"` // "" when it has ended
	InFlight      int    `json:"in_flight"`
	Unanswered    int    `json:"unanswered"`
	Downstreams   uint64 `json:"downstreams"`
	MaxUnanswered int    `json:"max_unanswered"` // downstreams at a time
	Acks          uint64 `json:"acks"`
	WrongAcks     uint64 `json:"wrong_acks"`
	OverLimit     uint64 `json:"over_limit"`
}

// WrongAck is an ack of something that was not outstanding on its connection.
type WrongAck struct {
	Conn      int    `json:"conn"`
	To        string `json:"to"`
	MessageID string `json:"message_id"`
}

// Counts are the totals alone: cheap enough to poll.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Report is the state of the books now.
func (s *Server) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	first := s.accounts[s.opts.SenderID]
	r := Report{
		Counts: s.counts, Run: s.opts.Run,
		AckLatency: s.ackLatency.latency(),
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

// Transcript is what passed last on all connections, oldest first, without
// credentials. Options.Transcript says how much.
func (s *Server) Transcript() []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transcript.lines()
}

// Await returns when the counts are as wanted, or with ctx's error.
func (s *Server) Await(ctx context.Context, ok func(Counts) bool) error {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for !ok(s.Counts()) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
