package ccs

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
)

// FuzzSession sends any bytes to a session in each of its states: before the login,
// during it, when it is ready with something in flight, and when it drains. Whatever
// the bytes are, it neither panics nor hangs, acks no more than it stored, and ends when
// it is told to. They are sent on three connections: the first, one that follows at once
// when that drains, and one after a wait. After these nobody answers a dial.
func FuzzSession(f *testing.F) { // P1, P10
	const header = `<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">`
	const ready = header + `<stream:features><mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms></stream:features>` +
		`<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>` + header + `<stream:features/><iq type="result" id="bind"/>`
	const draining = ready + `<message><gcm xmlns="google:mobile:data">{"message_type":"control","control_type":"CONNECTION_DRAINING"}</gcm></message>`
	states := []string{"", header, ready, draining}
	for state := range states {
		for _, words := range []string{
			"", " ", "</stream:stream>", "<a/>", "<message>", "\xff", "<!-- -->",
			`<message><gcm xmlns="google:mobile:data">{"from":"t","message_id":"1","data":{}}</gcm></message>`,
			`<message><gcm xmlns="google:mobile:data">{"message_type":"ack","from":"tokA","message_id":"d-1"}</gcm></message>`,
			`<message id="d-1" type="error"><error type="wait"/></message>`,
			`<iq type="get" id="1"><ping xmlns="urn:xmpp:ping"/></iq>`,
			`<stream:error><invalid-xml xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>`,
			`<stream:features/><failure xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><not-authorized/></failure>`,
		} {
			f.Add(uint8(state), words)
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, words string) {
		synctest.Test(t, func(t *testing.T) {
			in, out := newInbox(), newOutbox()
			out.send(1, 3, "tokA")
			heard := &logs{}
			var dials atomic.Int32
			s := New(Options{
				Name: "main", Address: "x:1", SenderID: "1", Key: "k", Inbox: in, Outbox: out,
				Dial: func(ctx context.Context, _ string) (net.Conn, error) {
					if dials.Add(1) > 3 {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					ours, theirs := net.Pipe()
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						io.Copy(heard, theirs) //nolint:errcheck // any end will do
					}()
					go func() {
						io.WriteString(theirs, states[int(state)%len(states)]+words) //nolint:errcheck // it may be gone
						<-ended
						theirs.Close()
					}()
					return ours, nil
				},
			})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			time.Sleep(3 * time.Minute)
			stop()
			asked := time.Now()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			if d := time.Since(asked); d > 40*time.Second { // a login that nobody answers
				t.Errorf("stopping took %v", d)
			}
			synctest.Wait()
			if acks := strings.Count(heard.String(), `"message_type":"ack"`); acks > len(in.stored) {
				t.Errorf("P1: %d acks, %d stored", acks, len(in.stored))
			}
			out.look(func(b *outbox) {
				if len(b.taken) > 0 {
					t.Errorf("P3: %d downstreams not given back", len(b.taken))
				}
			})
		})
	})
}

// FuzzPayload: whatever comes as one device's payload, a good message after it is acked
// on the same connection.
func FuzzPayload(f *testing.F) { // P1, P10
	for _, c := range hostile {
		if text, ok := strings.CutPrefix(c.stanza, head); ok && len(text) < 1<<10 {
			f.Add(strings.TrimSuffix(text, `</gcm></message>`))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "stream:") || len(text) > 1<<16 {
			t.Skip("a device can't write a '<', so the stream's own elements are CCS's alone; and its messages are shorter")
		}
		simulate(t, ccssim.Options{}, nil, func(w *world) {
			w.srv.Inject(up(text))
			w.srv.Upstream("good", "app", nil)
			w.until("the good one's ack", func(n ccssim.Counts) bool { return n.Acked == 1 })
			if n := w.srv.Counts(); n.Logins != 1 {
				t.Errorf("%d logins", n.Logins)
			}
		})
	})
}
