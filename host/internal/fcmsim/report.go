package fcmsim

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Counts are a server's totals since it started.
type Counts struct {
	Connections     int    `json:"connections"`      // dialled in all
	MostConnections int    `json:"most_connections"` // open at once
	HTTP1           int    `json:"http1"`            // connections that spoke HTTP/1.1
	Requests        uint64 `json:"requests"`
	MostStreams     int    `json:"most_streams"` // requests without an answer at once, all connections together

	TokenRequests uint64 `json:"token_requests"`
	Tokens        uint64 `json:"tokens"` // given
	TokensRefused uint64 `json:"tokens_refused"`

	Sends        uint64 `json:"sends"`        // requests to send a message
	Accepted     uint64 `json:"accepted"`     // sends that were answered with 200
	Unauthorized uint64 `json:"unauthorized"` // sends without a good bearer token
	Ruled        uint64 `json:"ruled"`        // sends that a rule answered
	Refused      uint64 `json:"refused"`      // sends that the server refused by itself, quotas included
	OverQuota    uint64 `json:"over_quota"`
	Validated    uint64 `json:"validated"` // good sends with validate_only
	Lost         uint64 `json:"lost"`      // requests whose stream or connection ended before an answer
	Dropped      uint64 `json:"dropped"`   // requests above the last id of a GOAWAY: nothing was done

	Delivered  uint64 `json:"delivered"`  // messages that came to their device's queue
	Effects    uint64 `json:"effects"`    // messages at a device that an app which knows bal_id acts on
	Duplicates uint64 `json:"duplicates"` // messages at a device that had the same bal_id before
	Forgotten  uint64 `json:"forgotten"`  // messages to a target beyond the 100,000 that are remembered

	OverStreams uint64 `json:"over_streams"` // streams over MAX_CONCURRENT_STREAMS, after the client has acked the limit; net/http does it when both cross
	GoAways     uint64 `json:"goaways"`
	Cut         uint64 `json:"cut"` // connections
	Pings       uint64 `json:"pings"`
	Calmed      uint64 `json:"calmed"` // connections that pinged too often
}

// Report is the state of a server without the long lists. See Device and Transcript
// for those.
type Report struct {
	Counts
	Open     int               `json:"open"`      // connections now
	Streams  int               `json:"streams"`   // requests without an answer now
	ByStatus map[string]uint64 `json:"by_status"` // sends by what they got: a status, or "reset", "cut", "hang", "lost"
	Conns    []ConnReport      `json:"conns"`     // the open ones, and the last 1,000 that have ended
	Devices  []DeviceReport    `json:"devices"`   // the first 100, each with its last 10 messages
	DeviceN  int               `json:"devices_in_all"`
}

// ConnReport is one connection. IDs count from 1 in order of arrival.
type ConnReport struct {
	ID          int    `json:"id"`
	Protocol    string `json:"protocol"` // "h2" or "http/1.1"; "" before the first request
	Open        bool   `json:"open"`
	Requests    uint64 `json:"requests"`
	Streams     int    `json:"streams"`      // requests without an answer now
	MostStreams int    `json:"most_streams"` // at once
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
	r := Report{
		Open: len(s.conns), Streams: s.streams, ByStatus: maps.Clone(s.byStatus),
		Conns: slices.Clone(s.past), Devices: s.reportDevices(100, time.Now()), DeviceN: len(s.order),
	}
	r.Counts = s.counts // after the devices: they may have got what was stored
	for c := range s.conns {
		open := c.report
		open.Open = !c.lost
		r.Conns = append(r.Conns, open)
	}
	slices.SortFunc(r.Conns, func(x, y ConnReport) int { return cmp.Compare(x.ID, y.ID) })
	return r
}

// Line is one request in [Server.Transcript].
type Line struct {
	Time    time.Time `json:"time"` // of the answer
	Conn    int       `json:"conn"`
	Stream  uint32    `json:"stream"` // 0 on HTTP/1.1
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Target  string    `json:"target,omitempty"`
	BalID   string    `json:"bal_id,omitempty"`
	Status  string    `json:"status"`            // as in Report.ByStatus
	Request string    `json:"request,omitempty"` // the body, at most 8 KiB; none of requests for tokens
	Answer  string    `json:"answer,omitempty"`  // the body, at most 8 KiB; none with a token
}

// maxLine is the most bytes of a body in the transcript.
const maxLine = 8 << 10

// transcript is a ring of the last requests.
type transcript struct {
	slots []Line
	next  int  // index of the slot for the next line
	full  bool // all slots are in use
}

func (t *transcript) add(now time.Time, x *exchange) {
	if len(t.slots) == 0 {
		return
	}
	l := Line{Time: now, Conn: x.conn, Stream: x.stream, Method: x.method, Path: x.path, Target: x.target, BalID: x.balID, Status: x.status}
	if x.path != "/token" {
		l.Request = string(x.body[:min(len(x.body), maxLine)])
	}
	if x.path != "/token" || x.response.Status != 200 {
		l.Answer = x.response.Body[:min(len(x.response.Body), maxLine)]
	}
	t.slots[t.next] = l
	if t.next++; t.next == len(t.slots) {
		t.next, t.full = 0, true
	}
}

// Transcript is the last requests on all connections, oldest first, without
// credentials. Options.Transcript says how many.
func (s *Server) Transcript() []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.transcript
	if !t.full {
		return slices.Clone(t.slots[:t.next])
	}
	return slices.Concat(t.slots[t.next:], t.slots[:t.next])
}
