package ccssim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
)

// device is a virtual device, or another target of downstreams: a topic or a
// condition. Server.mu guards all of it.
type device struct {
	token    string
	sent     uint64   // the load's messages are numbered from 1 to sent
	acked    bitset   // numbers of the load's messages that were acked
	ackedIDs []string // ids of the other upstreams that were acked
	ackedN   int      // all acked upstreams

	received   []Received     // the last downstreams
	seen       map[string]int // for each message id, how often it is in received
	receivedN  int            // all downstreams
	duplicates int
}

// Received is one downstream as a device got it.
type Received struct {
	MessageID    string          `json:"message_id"`
	Order        int             `json:"order"` // the device's first downstream has 1
	Data         json.RawMessage `json:"data,omitempty"`
	Notification json.RawMessage `json:"notification,omitempty"`
	CollapseKey  string          `json:"collapse_key,omitempty"`
	TTL          json.RawMessage `json:"time_to_live,omitempty"` // seconds
	Duplicate    bool            `json:"duplicate,omitempty"`    // an earlier one has the same id
	Conn         int             `json:"conn"`
}

// DeviceReport is what the simulator knows of one device, topic or condition.
type DeviceReport struct {
	Token      string     `json:"token"`
	Sent       uint64     `json:"sent"`       // upstreams made by the load: the last "n"
	Acked      int        `json:"acked"`      // all acked upstreams
	Unacked    []string   `json:"unacked"`    // ids of upstreams waiting or in flight, oldest first; at most 1,000
	Received   int        `json:"received"`   // downstreams
	Duplicates int        `json:"duplicates"` // downstreams whose message id came before
	Last       []Received `json:"last"`       // the last downstreams, oldest first; Options.Remember limits them
}

func (s *Server) device(token string) *device {
	d := s.devices[token]
	if d == nil {
		d = &device{token: token, seen: map[string]int{}}
		s.devices[token] = d
	}
	return d
}

func (d *device) ack(it *item) {
	d.ackedN++
	if it.n == 0 {
		d.ackedIDs = append(d.ackedIDs, it.id)
	} else {
		d.acked.set(it.n)
	}
}

// receive records a downstream, and keeps only the last keep ones.
func (d *device) receive(r Received, keep int) {
	d.receivedN++
	r.Order = d.receivedN
	if r.Duplicate = d.seen[r.MessageID] > 0; r.Duplicate {
		d.duplicates++
	}
	d.received = append(d.received, r)
	d.seen[r.MessageID]++
	for len(d.received) > keep {
		old := d.received[0].MessageID
		d.received[0] = Received{}
		d.received = d.received[1:]
		if d.seen[old]--; d.seen[old] == 0 {
			delete(d.seen, old)
		}
	}
}

// Device reports on one device, topic ("/topics/x") or condition. It is false if
// nothing was sent by it or to it.
func (s *Server) Device(token string) (DeviceReport, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[token]
	if d == nil {
		return DeviceReport{Token: token}, false
	}
	return s.reportDevice(d, s.unacked()[d]), true
}

func (s *Server) reportDevice(d *device, unacked []*item) DeviceReport {
	r := DeviceReport{
		Token: d.token, Sent: d.sent, Acked: d.ackedN, Unacked: []string{},
		Received: d.receivedN, Duplicates: d.duplicates, Last: append([]Received{}, d.received...),
	}
	for _, it := range unacked[:min(len(unacked), 1000)] {
		r.Unacked = append(r.Unacked, it.id)
	}
	return r
}

// unacked lists each device's un-acked upstreams, oldest first.
func (s *Server) unacked() map[*device][]*item {
	out := map[*device][]*item{}
	seen := map[*item]bool{} // an item may be in flight twice
	add := func(it *item) {
		if !it.acked && !it.receipt && !seen[it] {
			seen[it] = true
			out[it.dev] = append(out[it.dev], it)
		}
	}
	for _, a := range s.accounts {
		for _, it := range a.stored {
			add(it)
		}
	}
	for c := range s.conns {
		for _, d := range c.inflight {
			for ; d != nil; d = d.next {
				add(d.item)
			}
		}
	}
	for _, items := range out {
		slices.SortFunc(items, bySeq)
	}
	return out
}

// WriteAcked writes a line "token TAB message id" for every acked upstream, without
// a limit. Of each device, the load's messages come first, in order.
func (s *Server) WriteAcked(w io.Writer) error {
	out := bufio.NewWriter(w) // Flush returns the first error
	s.mu.Lock()
	devices := s.sortedDevices()
	s.mu.Unlock()
	for _, d := range devices {
		s.mu.Lock()
		acked, ids := slices.Clone(d.acked), d.ackedIDs[:len(d.ackedIDs):len(d.ackedIDs)]
		s.mu.Unlock()
		for n := range acked.all {
			fmt.Fprintf(out, "%s\t%s\n", d.token, loadID(s.opts.Run, n))
		}
		for _, id := range ids {
			fmt.Fprintf(out, "%s\t%s\n", d.token, id)
		}
	}
	return out.Flush()
}

func loadID(run string, n uint64) string { return run + "-" + strconv.FormatUint(n, 10) }

// bitset is a set of small numbers. It needs little memory for millions of them.
type bitset []uint64

func (b *bitset) set(n uint64) {
	for uint64(len(*b)) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitset) all(yield func(uint64) bool) {
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			if !yield(uint64(i*64 + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}
