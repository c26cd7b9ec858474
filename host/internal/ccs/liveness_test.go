package ccs_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
)

// What a peer sends that lets us in.
const (
	streamHeader = `<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">`
	mechanisms   = `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>`
	loggedIn     = streamHeader + mechanisms + `<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>` + streamHeader +
		`<stream:features><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></stream:features><iq type="result" id="bind"/>`
)

// A peer that sends byte by byte is given up in time, in each state. The limit of a login
// is 30 s. That of a connection without a stanza is ping interval, ping timeout and a
// tick; whitespace is no stanza, nor is one without an end.
func TestSlowDripIsGivenUp(t *testing.T) { // P10
	const header, login = streamHeader, loggedIn
	for name, c := range map[string]struct {
		fast, drip string // drip's last byte again and again
		most       time.Duration
	}{
		"from the first byte":  {"", login, 30 * time.Second},
		"in the header":        {"", "<stream:stream ", 30 * time.Second},
		"in the features":      {header, "<stream:features><x a='", 30 * time.Second},
		"between stanzas":      {login, " ", 31 * time.Second},
		"in a stanza":          {login, "<message>x", 31 * time.Second},
		"in a large one":       {login + `<message a="` + strings.Repeat("x", 2<<20), "x", 31 * time.Second},
		"in a stream's header": {login + header, "<presence/>", 44 * time.Second}, // of which a stanza
	} {
		var dials chan time.Time // of the bubble
		dial := func(context.Context, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			dials <- time.Now()
			gone := make(chan struct{})
			go func() { // ends with the connection
				defer close(gone)
				io.Copy(io.Discard, theirs) //nolint:errcheck // any end will do
			}()
			go func() {
				defer theirs.Close()
				if _, err := io.WriteString(theirs, c.fast); err != nil {
					return
				}
				for i := 0; ; i++ {
					select {
					case <-time.After(time.Second):
					case <-gone:
						return
					}
					if _, err := theirs.Write([]byte{c.drip[min(i, len(c.drip)-1)]}); err != nil {
						return
					}
				}
			}()
			return ours, nil
		}
		host(t, plan{unopened: true, session: func(o *ccs.Options) {
			quick(o)
			o.Dial, dials = dial, make(chan time.Time, 100)
		}}, func(w *whole) {
			first := <-dials
			select {
			case second := <-dials:
				if d := second.Sub(first); d > c.most+10*time.Millisecond { // the backoff
					t.Errorf("%s: given up after %v, want %v at most", name, d, c.most)
				}
			case <-time.After(10 * time.Minute):
				t.Errorf("%s: never given up", name)
			}
		})
	}
}

// A peer that answers no ping but sends stanzas counts as alive.
func TestPeerWithoutPongsThatSends(t *testing.T) { // P10
	w := &sender{every: 15 * time.Second}
	host(t, plan{unopened: true, session: func(o *ccs.Options) { o.Dial = w.dial }}, func(h *whole) {
		time.Sleep(time.Hour)
		if n := w.dials.Load(); n != 1 {
			t.Errorf("%d connections in an hour, want 1", n)
		}
		if st := h.sessions[0].Status(); st.LastError != nil || st.UnknownTypes < 200 {
			t.Errorf("%v, %d stanzas", st.LastError, st.UnknownTypes)
		}
	})
}

// sender is a peer that sends a stanza again and again, and answers nothing.
type sender struct {
	every time.Duration
	dials atomic.Int64
}

func (p *sender) dial(context.Context, string) (net.Conn, error) {
	p.dials.Add(1)
	ours, theirs := net.Pipe()
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		io.Copy(io.Discard, theirs) //nolint:errcheck // any end will do
	}()
	go func() {
		defer theirs.Close()
		for say := loggedIn; ; say = gcm(`{"message_type":"greeting","message_id":"x"}`) {
			if _, err := io.WriteString(theirs, say); err != nil {
				return
			}
			select {
			case <-time.After(p.every):
			case <-gone:
				return
			}
		}
	}()
	return ours, nil
}

// A peer that reads byte by byte blocks the writer no longer than a dead one.
func TestSlowReaderIsGivenUp(t *testing.T) { // P10
	host(t, plan{session: func(o *ccs.Options) {
		quick(o)
		inner, slow := o.Dial, 0
		o.Dial = func(ctx context.Context, a string) (net.Conn, error) {
			nc, err := inner(ctx, a)
			if slow++; slow == 1 && err == nil {
				nc = &sluggish{Conn: nc}
			}
			return nc, err
		}
	}}, func(w *whole) {
		began := time.Now()
		w.sendN("tokA", 1, 100)
		w.acked(100)
		if d := time.Since(began); d > 35*time.Second { // ping interval + timeout
			t.Errorf("took %v", d)
		}
		if n := w.srv.Counts().Logins; n != 2 {
			t.Errorf("%d logins, want 2", n)
		}
	})
}

// sluggish lets a byte a second through, from its second kilobyte on.
type sluggish struct {
	net.Conn
	n        int
	deadline time.Time
}

func (s *sluggish) SetWriteDeadline(t time.Time) error {
	s.deadline = t
	return s.Conn.SetWriteDeadline(t)
}

func (s *sluggish) Write(p []byte) (int, error) {
	for i := range p {
		if s.n++; s.n > 1024 {
			time.Sleep(time.Second)
		}
		if n, err := s.Conn.Write(p[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(p), nil
}

// Our pings keep a server from ending a connection on which nothing is sent.
func TestPingsKeepAnIdleConnection(t *testing.T) {
	host(t, plan{server: ccssim.Options{IdleTimeout: 25 * time.Second, Keepalive: -1}}, func(w *whole) {
		time.Sleep(3 * time.Hour)
		if c := w.srv.Counts(); c.Logins != 1 || c.StreamErrors > 0 {
			t.Errorf("%d logins, %d stream errors", c.Logins, c.StreamErrors)
		}
	})
}

// Times that CCS names are shown only: nothing depends on them.
func TestServerClockNonsense(t *testing.T) { // P10
	times := []string{`"1711000000000"`, `"0"`, `"-1"`, `"99999999999999999999"`, `"9223372036854775807"`, `"tomorrow"`, `""`, `1711000000000`, `1e300`, `null`, `{}`}
	host(t, plan{}, func(w *whole) {
		for i, at := range times {
			if _, err := w.srv.Send(ccssim.Upstream{From: "gcm.googleapis.com", MessageID: fmt.Sprint("dr2:d-", i), Payload: fmt.Sprintf(
				`{"message_type":"receipt","from":"gcm.googleapis.com","message_id":"dr2:d-%d","time_to_live":%s,"data":{"message_status":"X","original_message_id":"d-%d","message_sent_timestamp":%s}}`,
				i, at, i, at)}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: fmt.Sprint(i), Payload: fmt.Sprintf(
				`{"from":"tokA","message_id":"%d","time_to_live":%s,"data":{}}`, i, at)}); err != nil {
				t.Fatal(err)
			}
		}
		w.until("acks", func() bool { return w.srv.Counts().Acked == uint64(2*len(times)) })
		receipts := w.bodies(entry.Receipt)
		if len(receipts) != len(times) || len(w.upstreams()) != len(times) {
			t.Fatalf("%d receipts and %d upstreams, want %d each", len(receipts), len(w.upstreams()), len(times))
		}
		for i, r := range receipts {
			want := time.Time{}
			if i == 0 || i == 7 {
				want = time.UnixMilli(1711000000000)
			}
			if !r.Receipt.SentAt.Equal(want) {
				t.Errorf("%s: sent at %v", times[i], r.Receipt.SentAt)
			}
		}
		w.legal()
	})
}

// The ledger takes what the session reads up to a size. An upstream over that size, or
// over max_stanza, becomes a dead letter that is cut. It is acked, and the others go on.
func TestLargestUpstream(t *testing.T) { // P1, P10
	host(t, plan{full: true, server: ccssim.Options{Transcript: -1}}, func(w *whole) {
		for id, size := range map[string]int{"fits": 1_000_000, "too large for the ledger": 1_040_000, "too large": 1_100_000} {
			data := `{"v":"` + strings.Repeat("x", size) + `"}`
			if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: id, Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
		}
		w.srv.Upstream("tokA", "app", nil)
		w.until("acks", func() bool { return w.srv.Counts().Acked == 4 })
		st := w.sessions[0].Status()
		if st.TooLarge != 1 || st.Connections[0].Unackable != 0 || len(w.upstreams()) != 2 {
			t.Errorf("status %+v", st)
		}
		w.legal()
	})
}
