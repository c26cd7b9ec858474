package ccs

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// BenchmarkUpstream is the way of an upstream through this package alone: from its
// bytes to those of its ack, with a ledger that stores at once, 300 bytes of JSON and no
// TLS.
func BenchmarkUpstream(b *testing.B) {
	payload := `{"from":"` + strings.Repeat("t", 60) + `","message_id":"m-0123456789","category":"com.example.courier","data":{"n":"17","pad":"` +
		strings.Repeat("x", 155) + `"}}`
	stanza := `<message to="1@fcm.googleapis.com" from="devices@gcm.googleapis.com" type="normal"><gcm xmlns="google:mobile:data">` + payload + `</gcm></message>`
	const header = `<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">`
	pourer := &pourer{
		closed: make(chan struct{}),
		rest: []byte(header + `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>` +
			`<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>` + header + `<stream:features/><iq type="result" id="bind"/>`),
		again: []byte(strings.Repeat(stanza, 32)), left: (b.N + 31) / 32,
	}
	stored := make(stores, 1<<16)
	go stored.run()
	defer close(stored)
	s := New(Options{
		Name: "main", Address: "x:1", SenderID: "1", Key: "k", Inbox: stored, Outbox: newOutbox(), AckWarn: time.Hour,
		Dial: func(context.Context, string) (net.Conn, error) { return pourer, nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	b.ReportAllocs()
	b.SetBytes(int64(len(stanza)))
	b.ResetTimer()
	go func() { ended <- s.Run(ctx) }()
	for s.Status().UpstreamsAcked < uint64(b.N) {
		time.Sleep(100 * time.Microsecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(max(1, pourer.writes)), "acks/write")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// stores is a ledger whose commits take no time; it calls back from a goroutine
// of its own.
type stores chan func(error)

func (s stores) run() {
	for done := range s {
		done(nil)
	}
}

func (s stores) Accept(_ entry.Inbound, done func(error)) { s <- done }
func (s stores) Room() <-chan struct{}                    { return nil }

// pourer is a connection that gives rest, then again as many times as is left, then
// nothing. What is written to it is dropped.
type pourer struct {
	net.Conn
	rest, again  []byte
	left, writes int
	closed       chan struct{}
}

func (f *pourer) Read(p []byte) (int, error) {
	if len(f.rest) == 0 && f.left > 0 {
		f.rest, f.left = f.again, f.left-1
	}
	if len(f.rest) == 0 {
		<-f.closed
		return 0, os.ErrClosed
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *pourer) Write(p []byte) (int, error)      { f.writes++; return len(p), nil }
func (f *pourer) SetReadDeadline(time.Time) error  { return nil }
func (f *pourer) SetWriteDeadline(time.Time) error { return nil }

func (f *pourer) Close() error {
	select {
	case <-f.closed:
		return errors.New("closed twice")
	default:
		close(f.closed)
		return nil
	}
}
