package ccssim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/xmpp"
)

// condition is the condition of the stream error that comes next; "" for another end.
func (c *client) condition() string {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		_, err := c.read()
		var se *xmpp.StreamError
		if errors.As(err, &se) {
			return se.Condition
		} else if err != nil {
			return ""
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{IdleTimeout: 10 * time.Second, Keepalive: time.Second})
		c := login(t, s)
		for range 5 { // a space counts as a sign of life
			c.silent(9 * time.Second)
			c.write(" ")
		}
		since := time.Now()
		equal(t, "condition", c.condition(), "connection-timeout")
		equal(t, "after", time.Since(since), 10*time.Second)
		s.Close()
	})
}

func TestConnectionCap(t *testing.T) {
	s := newServer(t, Options{Connections: 2, Senders: map[string]string{"2": "k"}})
	login(t, s)
	second := login(t, s)
	_, err := loginAs(t, pipe(s), s.SenderID()+"@gcm.googleapis.com", s.Key())
	var se *xmpp.StreamError
	if !errors.As(err, &se) || se.Condition != "policy-violation" {
		t.Fatalf("the third: %v", err)
	}
	if _, err := loginAs(t, pipe(s), "2@gcm.googleapis.com", "k"); err != nil {
		t.Errorf("another sender: %v", err)
	}
	second.nc.Close()
	await(t, s, func(Counts) bool {
		_, err := loginAs(t, pipe(s), s.SenderID()+"@gcm.googleapis.com", s.Key())
		return err == nil
	})
}

func TestControlHasATypeWhenAsked(t *testing.T) {
	for typed, want := range map[bool]string{false: "", true: "normal"} {
		s := newServer(t, Options{TypedControl: typed})
		c := login(t, s)
		s.Drain()
		st := c.stanza()
		equal(t, "type", st.Type, want)
		equal(t, "payload", strings.Contains(string(st.GCM), "CONNECTION_DRAINING"), true)
	}
}

// A receipt comes after the downstream's ack or, with ReceiptFirst, before it. The ack's delay does not matter.
func TestReceiptOrder(t *testing.T) {
	for first, want := range map[bool]string{false: "ack receipt", true: "receipt ack"} {
		for _, delay := range []time.Duration{0, 30 * time.Millisecond} {
			s := newServer(t, Options{Receipts: true, ReceiptFirst: first, AckDelay: Range{Min: delay}})
			c := login(t, s)
			for range 3 {
				c.downstream(`{"to":"tok","message_id":"m1","delivery_receipt_requested":true}`)
				got := c.payload()["message_type"].(string) + " " + c.payload()["message_type"].(string)
				equal(t, "order", got, want)
				c.ack("gcm.googleapis.com", "dr2:m1")
			}
		}
	}
}

// A device gets its message even if the ack to its sender is lost.
func TestReceiptOfALostAck(t *testing.T) {
	s := newServer(t, Options{Receipts: true, AckDelay: Range{Min: time.Hour}})
	c := login(t, s)
	c.downstream(`{"to":"tok","message_id":"m1","delivery_receipt_requested":true}`)
	await(t, s, func(c Counts) bool { return c.Receipts == 1 })
	s.Cut()
	equal(t, "receipt", login(t, s).payload()["message_id"], any("dr2:m1"))
}

// An upstream that is not acked in time is written again and again on the same
// connection. Each writing counts in the window and needs its own ack.
func TestResendAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{ResendAfter: 10 * time.Second, Window: 4, Keepalive: -1})
		c := login(t, s)
		s.Send(Upstream{From: "tok", MessageID: "1"})
		s.Send(Upstream{From: "tok", MessageID: "2"})
		equal(t, "first", strings.Join(c.receive(2), ","), "tok 1,tok 2")
		c.ack("tok", "1")
		c.silent(9900 * time.Millisecond)
		for range 3 {
			equal(t, "again", c.receive(1)[0], "tok 2")
			c.silent(9900 * time.Millisecond)
		}
		c.silent(time.Minute) // the window is full
		c.write(strings.Repeat(`<message><gcm xmlns="google:mobile:data">{"to":"tok","message_id":"2","message_type":"ack"}</gcm></message>`, 4))
		c.silent(time.Minute)
		n := s.Counts()
		equal(t, "acked", n.Acked, 2)
		equal(t, "acked again", n.AckedAgain, 3)
		equal(t, "wrong acks", n.WrongAcks, 0)
		s.Close()
	})
}

// A connection that carries no more upstreams must not wake for one. Its writer would
// run without a pause.
func TestNoWakeForWhatIsNotWritten(t *testing.T) {
	s := newServer(t, Options{ResendAfter: time.Hour, Keepalive: -1})
	c := login(t, s)
	s.Send(Upstream{From: "tok", MessageID: "1"})
	equal(t, "first", c.receive(1)[0], "tok 1")
	wake := func() (at time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			at = c.nextWake(time.Now())
		}
		return at
	}
	equal(t, "wakes to write it again", wake().IsZero(), false)
	s.DrainWith(Drain{NoUpstream: true})
	equal(t, "wakes once it drains", wake(), time.Time{})
}

func TestNackThatEndsTheStream(t *testing.T) {
	s := newServer(t, Options{})
	s.Nack(Nack{Token: "poison", StreamError: "invalid-xml", Count: -1})
	c := login(t, s)
	c.downstream(`{"to":"fine","message_id":"m1"}`)
	equal(t, "the others", c.payload()["message_type"], any("ack"))
	c.downstream(`{"to":"poison","message_id":"m2"}`)
	equal(t, "condition", c.condition(), "invalid-xml")
}

func TestNackThatLosesTheConnection(t *testing.T) {
	for _, mode := range []CutMode{CutFIN, CutRST} {
		s := newServer(t, Options{})
		s.Nack(Nack{Token: "poison", Cut: mode, Count: -1})
		c := login(t, s)
		c.downstream(`{"to":"fine","message_id":"m1"}`)
		equal(t, "the others", c.payload()["message_type"], any("ack"))
		c.downstream(`{"to":"poison","message_id":"m2"}`)
		c.over()
		equal(t, "cut", s.Counts().Cut, 1)
	}
}

// A cut below TLS is in the middle of a record, and without close_notify.
func TestCutBelowTLS(t *testing.T) {
	s, err := NewServer(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	raw, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	count := &counted{Conn: raw}
	c, err := loginAs(t, tls.Client(count, &tls.Config{RootCAs: roots, ServerName: "localhost"}), s.SenderID()+"@gcm.googleapis.com", s.Key())
	if err != nil {
		t.Fatal(err)
	}
	before := count.n
	if n, err := s.CutWith(Cut{After: 100, Below: true}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	s.StartDevices(Devices{Count: 1, Size: 1000, Limit: 1})
	if _, err := c.read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read: %v", err)
	}
	equal(t, "bytes", count.n-before, 100)
	if _, err := s.CutWith(Cut{Mode: CutRST, After: 1, Below: true}); err == nil {
		t.Error("no error for an impossible cut")
	}
}

type counted struct {
	net.Conn
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}

func TestWrongOptions(t *testing.T) {
	for i, o := range []Options{{Connections: -1}, {IdleTimeout: -1}, {ResendAfter: -1}} {
		if o.Check() == nil {
			t.Errorf("no error for options %d", i)
		}
	}
}
