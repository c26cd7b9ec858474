package ccs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// What real app servers got wrong, by the numbers of ccs-protocol.md §11: each test
// shows that it does not happen here, with the real ledger and outbox. This file has 1
// to 13, mistakes_more_test.go the others.

// 1: acks for upstreams of a draining connection go out on the new one.
func TestMistake01AckOnTheWrongConnection(t *testing.T) { // P1
	p := plan{commit: 2 * time.Second} // acks are owed when the drain comes, and after it
	host(t, p, func(w *whole) {
		for range 20 {
			w.srv.Upstream("tokA", "app", nil)
		}
		w.until("upstreams on the first", func() bool { return w.srv.Counts().Written == 20 })
		w.srv.DrainWith(ccssim.Drain{Conn: 1, Grace: ccssim.Duration(time.Minute), NoUpstream: true})
		w.until("replacement", func() bool { return w.srv.Counts().Logins == 2 })
		for range 20 {
			w.srv.Upstream("tokA", "app", nil)
		}
		w.until("acks", func() bool { return w.srv.Counts().Acked == 40 })
		if a, b := w.conn(1).Acks, w.conn(2).Acks; a != 20 || b != 20 {
			t.Errorf("%d acks on the old connection and %d on the new one, want 20 each", a, b)
		}
		if n := w.srv.Counts().Redelivered; n > 0 {
			t.Errorf("%d came again", n)
		}
		w.legal()
	})
}

// 2: acks, nacks, control messages and stanza errors are acked like upstreams.
func TestMistake02AckingAnAck(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Token: "gone", Code: "DEVICE_UNREGISTERED"})
		w.sendN("tokA", 1, 3)
		w.send(one("gone", "d-4", nil))
		w.srv.Inject(`<message id="x" type="error"><gcm xmlns="google:mobile:data">{"from":"tokA","message_id":"1"}</gcm>` +
			`<error code="406" type="modify"><not-acceptable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></message>`)
		w.srv.Inject(gcm(`{"message_type":"control","control_type":"OTHER","from":"tokA","message_id":"2"}`))
		w.srv.Inject(gcm(`{"message_type":"what","x":"tokA"}`))
		w.until("outcomes", func() bool { return len(w.outcomes()) == 4 })
		time.Sleep(time.Minute)
		for _, s := range w.said(0) {
			if strings.Contains(s, `"message_type":"ack"`) {
				t.Errorf("acked: %s", s)
			}
		}
		w.legal()
	})
}

// 3: DRAINING, which has neither message_id nor from, is not noticed.
func TestMistake03DrainingNeverSeen(t *testing.T) {
	for _, o := range []ccssim.Options{{}, {TypedControl: true}, {BareGCM: true}, {BareGCM: true, TypedControl: true, SplitBytes: 1}} {
		host(t, plan{server: o}, func(w *whole) {
			w.srv.Drain()
			w.until("replacement", func() bool { return w.srv.Counts().Logins == 2 })
			w.sendN("tokA", 1, 5)
			w.acked(5)
			if n := w.srv.Counts().Nacked; n > 0 {
				t.Errorf("%+v: %d sent into the draining connection", o, n)
			}
		})
	}
}

// 4: draining by hanging up loses the answers and the upstreams still to come.
func TestMistake04DrainingByHangingUp(t *testing.T) { // P1, P3
	host(t, plan{server: ccssim.Options{AckDelay: ccssim.Range{Min: 20 * time.Second}}}, func(w *whole) {
		w.sendN("tokA", 1, 50)
		w.until("in flight", func() bool { return w.conn(1).Unanswered == 50 })
		w.srv.DrainWith(ccssim.Drain{Conn: 1, Grace: ccssim.Duration(40 * time.Second)})
		for range 20 { // ccssim gives them to whichever connection has room
			time.Sleep(time.Second)
			w.srv.Upstream("tokB", "app", nil)
		}
		w.acked(50)
		time.Sleep(5 * time.Second)
		if c := w.conn(1); c.State != ccssim.StateDraining {
			t.Error("we closed what is CCS's to close")
		}
		w.until("acks", func() bool { return w.srv.Counts().Acked == 20 })
		if n := w.srv.Counts().DuplicateDown; n > 0 {
			t.Errorf("%d downstreams twice: their answers were not waited for", n)
		}
		if slices.ContainsFunc(w.said(1), func(s string) bool { return strings.Contains(s, "</stream") }) {
			t.Error("we ended the draining stream")
		}
		w.legal()
	})
}

// 5: a replacement only once the old connection is closed: an outage as long as
// the drain.
func TestMistake05WaitingToBeClosed(t *testing.T) {
	host(t, plan{session: func(o *ccs.Options) { o.Connections = 2 }}, func(w *whole) {
		w.until("both", func() bool { return w.srv.Counts().Logins == 2 })
		drained := time.Now()
		w.srv.DrainWith(ccssim.Drain{Conn: 1}) // never closed by CCS
		w.sendN("tokA", 1, 300)
		w.acked(300)
		w.until("replacement", func() bool { return w.srv.Counts().Logins == 3 })
		if d := time.Since(drained); d > 10*time.Millisecond {
			t.Errorf("the replacement took %v", d)
		}
		if c := w.conn(2); c.State != ccssim.StateBound || c.Downstreams == 0 {
			t.Errorf("the other connection, which does not drain: %+v", c)
		}
		if c := w.conn(1); c.State != ccssim.StateDraining {
			t.Errorf("the drained one: %+v", c)
		}
	})
}

// 6: the nack CONNECTION_DRAINING is unknown, waits, or goes where it came from.
func TestMistake06NackDraining(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		w.srv.DrainWith(ccssim.Drain{Silent: true})
		began := time.Now()
		w.sendN("tokA", 1, 30)
		w.acked(30)
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("took %v: no reason to wait", d)
		}
		if a, b := w.conn(1).Downstreams, w.conn(2).Downstreams; a >= 60 || b != 30 {
			t.Errorf("%d on the draining connection, %d on the new one, want 30", a, b)
		}
		for _, o := range w.outcomes() {
			if o.Attempts > 2 {
				t.Errorf("%s was written %d times", o.MessageID, o.Attempts)
			}
		}
	})
}

// 7: what a dead connection left unanswered is forgotten.
func TestMistake07PendingLost(t *testing.T) { // P3, P4
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Count: 100}) // never answered
		w.sendN("tokA", 1, 100)
		w.until("all in flight", func() bool { return w.conn(1).Downstreams == 100 })
		for range 3 {
			w.srv.Cut()
			w.until("connection", func() bool { return w.standing() == 1 })
		}
		w.acked(100)
		same(t, "received", w.received("tokA"), ids(1, 100))
	})
	host(t, plan{server: ccssim.Options{AckDelay: ccssim.Range{Min: time.Hour}}}, func(w *whole) {
		w.sendN("tokA", 1, 150)
		w.until("in flight", func() bool { return w.conn(1).Downstreams == 100 })
		w.restart() // and neither does a new process forget
		w.until("in flight again", func() bool { return w.conn(2).Downstreams == 100 })
		if n := w.led.Counts().Downstreams; n != 150 {
			t.Errorf("%d pending after a restart, want 150", n)
		}
	})
}

// 8: what is sent again is sent twice, too late, or past the limit.
func TestMistake08BadResendSets(t *testing.T) { // P3
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Count: -1})
		w.sendN("tokA", 1, 99)
		time.Sleep(10 * time.Second)
		w.sendN("tokA", 100, 51) // the hundredth is fresh, the rest waits
		w.until("in flight", func() bool { return w.conn(1).Downstreams == 100 })
		w.srv.ClearNacks()
		w.srv.Cut()
		w.acked(150)
		same(t, "received", w.received("tokA"), ids(1, 150))
		if n := w.conn(2).Downstreams; n != 150 {
			t.Errorf("%d written on the new connection, want 150", n)
		}
		w.legal()
	})
}

// 9: a counter of what is pending drifts: slots leak, or too many are in flight.
func TestMistake09CounterDrift(t *testing.T) { // P3
	p := plan{
		server:  ccssim.Options{AckDelay: ccssim.Range{Min: time.Millisecond, Max: 30 * time.Millisecond}},
		session: quick,
	}
	host(t, p, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Token: "gone", Code: "BAD_REGISTRATION", Count: -1})
		w.srv.Nack(ccssim.Nack{Token: "busy", Code: "SERVICE_UNAVAILABLE", Count: 200})
		w.sendN("tokA", 0, 20)
		w.acked(20)
		for i := 1; i <= 10; i++ {
			w.sendN("tokA", 1000*i, 100)
			w.sendN("gone", 1000*i+100, 50)
			w.sendN("busy", 1000*i+200, 50)
			for n := range 20 { // answers to what is not, and no longer, in flight; and other traffic
				w.srv.Inject(gcm(fmt.Sprintf(`{"message_type":"ack","from":"tokA","message_id":"d-%d"}`, n)))
				w.srv.Inject(gcm(`{"message_type":"nack","from":"tokA","message_id":"none","error":"WHAT"}`))
				w.srv.Upstream("tokB", "app", nil)
			}
			if i%3 == 2 {
				w.srv.Cut()
			}
		}
		w.until("all outcomes", func() bool { return w.led.Counts().Downstreams == 0 && w.srv.Counts().Acked == 200 })
		if n := w.sessions[0].Status().Connections[0].InFlight; n != 0 {
			t.Errorf("%d in flight when all is answered", n)
		}
		last := w.srv.Counts().Logins
		w.srv.Nack(ccssim.Nack{Count: 150})
		w.sendN("tokA", 100_000, 150)
		w.until("a whole window", func() bool { return w.conn(last).Unanswered == 100 })
		time.Sleep(10 * time.Second)
		if n := w.conn(last).Unanswered; n != 100 {
			t.Errorf("%d in flight, want 100", n)
		}
		w.legal()
	})
}

// 10: with exactly 100 pending at a reconnect nothing goes, or everything does.
func TestMistake10LimitAtReconnect(t *testing.T) { // P3
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Count: -1})
		w.sendN("tokA", 1, 300)
		w.until("a full window", func() bool { return w.conn(1).Unanswered == 100 })
		w.srv.Cut()
		w.until("connection", func() bool { return w.srv.Counts().Logins == 2 })
		bound := time.Now()
		w.until("a full window again", func() bool { return w.conn(2).Unanswered == 100 })
		if d := time.Since(bound); d > 5*time.Millisecond {
			t.Errorf("%v from the bind to a full window", d)
		}
		time.Sleep(30 * time.Second)
		if n := w.conn(2).Downstreams; n != 100 {
			t.Errorf("%d in flight on the new connection, want 100", n)
		}
		w.legal()
	})
}

// 11: JSON goes into XML as it is, and the first & or < ends the stream.
func TestMistake11UnescapedJSON(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		for i, value := range []string{`fish & chips`, `a < b > c`, `]]>`, `<message>`, `&amp;lt;`, `"quoted" 'twice'`, `</gcm>`, `<![CDATA[x]]>`, `\`} {
			w.send(one("tokA", fmt.Sprint("d-", i), map[string]string{"v": value, "k&<>": value}))
			raw, _ := json.Marshal(value) //nolint:errcheck // a string
			raw = []byte(strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(raw)))
			w.send(message.Downstream{To: message.Token("tokB"), MessageID: fmt.Sprint("r&<>", i), Data: json.RawMessage(`{"v":` + string(raw) + `}`)})
			w.acked(2 * (i + 1))
			for _, token := range []string{"tokA", "tokB"} {
				d, _ := w.srv.Device(token)
				var got map[string]string
				if err := json.Unmarshal(d.Last[i].Data, &got); err != nil || got["v"] != value {
					t.Errorf("%s got %s, want %q (%v)", token, d.Last[i].Data, value, err)
				}
			}
		}
		if c := w.srv.Counts(); c.StreamErrors > 0 || c.Logins != 1 {
			t.Errorf("the stream broke: %+v", c)
		}
	})
}

// 12: the parser expects that a read returns whole stanzas, characters and keepalives.
func TestMistake12TextScanning(t *testing.T) {
	for _, o := range []ccssim.Options{{SplitBytes: 1}, {WriteEach: true}, {SplitBytes: 7, Keepalive: time.Millisecond}} {
		host(t, plan{server: o}, func(w *whole) {
			const n = 20
			for i := range n {
				w.srv.Inject(" \n" + `<message><gcm xmlns="google:mobile:data">{"message_type":"none"}</gcm></message>` + "  ")
				w.srv.Upstream("tokA", "app", map[string]string{"v": "<message>😀漢字</message> " + fmt.Sprint(i)})
				w.sendN("tokA", i, 1)
			}
			w.acked(n)
			w.until("acks", func() bool { return w.srv.Counts().Acked == n })
			for i, u := range w.upstreams() {
				var got map[string]string
				if err := json.Unmarshal(u.Data, &got); err != nil || got["v"] != "<message>😀漢字</message> "+fmt.Sprint(i) {
					t.Errorf("%+v: stored %s (%v)", o, u.Data, err)
				}
			}
			if c := w.srv.Counts(); c.Logins != 1 {
				t.Errorf("%+v: %d logins", o, c.Logins)
			}
		})
	}
}

// 13: an element is looked for by its prefix, not by its namespace.
func TestMistake13Prefixes(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Count: -1}) // we answer by hand
		wraps := []string{
			`<message><gcm xmlns="google:mobile:data">%s</gcm></message>`,
			`<message><data:gcm xmlns:data="google:mobile:data">%s</data:gcm></message>`,
			`<message id="" type="normal"><x:gcm xmlns:x='google:mobile:data' >%s</x:gcm></message>`,
			`<m:message xmlns:m="jabber:client" xmlns:d="google:mobile:data"><d:gcm>%s</d:gcm></m:message>`,
			`<message from="devices@gcm.googleapis.com"><gcm xmlns="google:mobile:data"><![CDATA[%s]]></gcm></message>`,
		}
		for i, wrap := range wraps {
			w.sendN("tokA", i, 1)
			w.until("it is in flight", func() bool { return w.srv.Counts().Downstreams == uint64(i+1) })
			w.srv.Inject(fmt.Sprintf(wrap, fmt.Sprintf(`{"message_type":"ack","from":"tokA","message_id":"d-%d"}`, i)))
			w.acked(i + 1)
		}
		w.srv.Inject(`<message><data:gcm xmlns:data="urn:other">{"from":"tokA","message_id":"9"}</data:gcm></message>`)
		time.Sleep(time.Second)
		if n := len(w.bodies(entry.Upstream)); n != 0 {
			t.Error("took an element of another namespace for CCS's")
		}
	})
}
