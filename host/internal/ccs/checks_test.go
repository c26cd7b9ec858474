package ccs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// The checks that ccs-protocol.md §12 has for a client, (a) to (j), against the
// real ledger and outbox.

// (a) The link is cut at each byte of every stanza of either side: nothing is lost in
// either direction, and nothing is stored twice.
func TestCheckACutAtEachByteLosesNothing(t *testing.T) { // P1, P3, P4, P6
	for name, cut := range map[string]func(w *whole, at int){
		"of what CCS writes": func(w *whole, at int) { w.srv.CutWith(ccssim.Cut{After: at}) }, //nolint:errcheck // a mode that exists
		"of what we write":   func(w *whole, at int) { w.links.cutAfter(at) },
	} {
		t.Run(name, func(t *testing.T) {
			host(t, plan{session: quick}, func(w *whole) {
				// An upstream and the ack of a downstream, or the other way round, are
				// shorter together; the answer to a ping is among them too.
				const longest = 500
				for at := range longest {
					w.until("connection", func() bool { return w.standing() == 1 })
					cut(w, at)
					w.srv.Upstream("tokA", "app", map[string]string{"at": fmt.Sprint(at)})
					w.sendN("tokB", at, 1)
					time.Sleep(50 * time.Millisecond)
					w.srv.Cut() // the byte was never written: no more than a plain cut
				}
				if c := w.srv.Counts(); c.Logins < longest+200 {
					t.Errorf("%d logins: few of the planned cuts came", c.Logins)
				}
				w.acked(longest)
				w.until("acks", func() bool { return w.srv.Counts().Acked == longest })
				if c := w.led.Counts(); c.Accepted != longest || c.Events != 2*longest {
					t.Errorf("P6: %d upstreams stored, want %d; %d events", c.Accepted, longest, c.Events)
				}
				if d, _ := w.srv.Device("tokA"); len(d.Unacked) > 0 {
					t.Errorf("left un-acked: %q", d.Unacked)
				}
				w.legal()
			})
		})
	}
}

// (b) CCS drains while 100 downstreams are pending and upstreams come: every ack goes to
// the connection of its upstream, and new downstreams go out as soon as the next
// connection is up.
func TestCheckBDrainUnderLoad(t *testing.T) { // P1, P3
	p := plan{
		server: ccssim.Options{AckDelay: ccssim.Range{Min: 5 * time.Second}},
		commit: 100 * time.Millisecond, // so that acks are owed at any time
	}
	host(t, p, func(w *whole) {
		w.sendN("tokA", 1, 150)
		w.until("a full window", func() bool { return w.conn(1).Unanswered == 100 })
		if err := w.srv.StartDevices(ccssim.Devices{Count: 10, Rate: 500, Limit: 1000}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		w.srv.DrainWith(ccssim.Drain{Grace: ccssim.Duration(8 * time.Second)})
		w.until("the new connection", func() bool { return w.srv.Counts().Logins == 2 })
		bound := time.Now()
		w.until("the rest on it", func() bool { return w.conn(2).Unanswered == 50 })
		if d := time.Since(bound); d > 5*time.Millisecond { // the pipe's round trip takes no time
			t.Errorf("what was new went out %v after the bind", d)
		}
		if w.conn(1).State != ccssim.StateDraining {
			t.Errorf("the old connection is %q", w.conn(1).State)
		}
		w.acked(150)
		w.until("acks", func() bool { return w.srv.Counts().Acked == 1000 })
		if first, second := w.conn(1).Acks, w.conn(2).Acks; first == 0 || second == 0 {
			t.Errorf("acks: %d on the draining connection, %d on the new one", first, second)
		}
		if n := w.srv.Counts().DuplicateDown; n > 0 {
			t.Errorf("%d downstreams went twice", n)
		}
		w.legal()
	})
}

// (c) The replacement is drained, and its replacement, all open at once.
func TestCheckCDrainTheReplacementToo(t *testing.T) { // P1, P3
	p := plan{server: ccssim.Options{AckDelay: ccssim.Range{Min: 30 * time.Second}}}
	host(t, p, func(w *whole) {
		const drains = 5
		for i := 1; i <= drains; i++ {
			w.until("login", func() bool { return w.srv.Counts().Logins == i })
			w.sendN("tokA", 10*i, 10)
			w.until("downstreams", func() bool { return w.conn(i).Downstreams == 10 })
			w.srv.DrainWith(ccssim.Drain{Conn: i, Grace: ccssim.Duration(40 * time.Second)})
		}
		w.until("the last", func() bool { return w.srv.Counts().Logins == drains+1 })
		if n := len(w.sessions[0].Status().Connections); n != drains+1 {
			t.Errorf("%d connections at once, want %d", n, drains+1)
		}
		w.acked(10 * drains)
		time.Sleep(2 * time.Minute)
		c := w.srv.Counts()
		if n := len(w.sessions[0].Status().Connections); n != 1 || c.Logins != drains+1 || c.DuplicateDown > 0 {
			t.Errorf("%d connections left, %d logins, %d downstreams twice", n, c.Logins, c.DuplicateDown)
		}
		w.legal()
	})
}

// (d) Never more than 100 in flight on a link, and 100 again right after each
// reconnect.
func TestCheckDNeverMoreThan100InFlight(t *testing.T) { // P3
	p := plan{
		server:  ccssim.Options{AckDelay: ccssim.Range{Min: 10 * time.Millisecond, Max: 90 * time.Millisecond}},
		session: func(o *ccs.Options) { quick(o); o.Connections = 2 },
	}
	host(t, p, func(w *whole) {
		const all, cuts = 4000, 6
		w.until("both", func() bool { return w.srv.Counts().Logins == 2 })
		w.sendN("tokA", 1, all)
		for i := range cuts {
			w.until("full windows", func() bool {
				for _, n := range []int{2*i + 1, 2*i + 2} {
					if w.conn(n).MaxUnanswered < 100 {
						return false
					}
				}
				return true
			})
			w.srv.Cut()
			w.until("reconnects", func() bool { return w.srv.Counts().Logins == 2*i+4 })
		}
		w.acked(all)
		for i := range 2 * cuts {
			if n := w.conn(i + 1).MaxUnanswered; n != 100 {
				t.Errorf("connection %d had %d unanswered at most, want 100", i+1, n)
			}
		}
		w.legal()
	})
}

// (e) A payload that makes CCS end the stream is found. It fails when it has ended two
// connections alone, and is not sent again. What was in flight beside it gets through.
func TestCheckEPoisonNeverLoops(t *testing.T) { // P4, P10
	p := plan{server: ccssim.Options{AckDelay: ccssim.Range{Min: 20 * time.Millisecond}}, session: quick}
	host(t, p, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Token: "poison", Count: -1, StreamError: "invalid-xml"})
		w.sendN("tokA", 1, 40)
		w.send(one("poison", "bad", nil))
		w.sendN("tokA", 41, 200)
		w.until("outcomes", func() bool { return len(w.outcomes()) == 241 })
		time.Sleep(time.Hour)
		for id, o := range w.outcomes() {
			switch {
			case id != "bad" && o.Status != message.Acked:
				t.Errorf("%s: %+v", id, o)
			case id == "bad" && (o.Status != message.Failed || o.Code != "STREAM_ERROR" || o.Attempts != 3):
				t.Errorf("the poison: %+v", o)
			}
		}
		if c := w.srv.Counts(); c.StreamErrors != 3 || c.Logins != 4 {
			t.Errorf("%d stream errors and %d logins, want 3 and 4", c.StreamErrors, c.Logins)
		}
		w.legal()
	})
}

// (f) The same upstream three times is one event and three acks.
func TestCheckFThreeDeliveriesAreOneEvent(t *testing.T) { // P6
	host(t, plan{server: ccssim.Options{Keepalive: -1}}, func(w *whole) {
		for range 3 {
			if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: "42", Category: "app", Data: json.RawMessage(`{"act":"sos"}`)}); err != nil {
				t.Fatal(err)
			}
		}
		w.until("acks", func() bool { return w.srv.Counts().Acked == 3 })
		if all := w.upstreams(); len(all) != 1 || all[0].MessageID != "42" {
			t.Errorf("stored %+v", all)
		}
		if n := w.led.Counts().Duplicates; n != 2 {
			t.Errorf("%d duplicates, want 2", n)
		}
		w.legal()
	})
}

// nasty are JSON strings that break a peer which escapes or decodes wrongly.
var nasty = []string{
	`"& < > ]]> \" ' &amp; &#65; <![CDATA["`,
	`"😀 漢字 \ud83d\ude00 é"`,
	`"\u0000\u0001\u001f\u007f"`,
	`"\ufffe\uffff"`,
	`"tab\t line\n cr\r slash\/ back\\"`,
	`"\u0026\u003c\u003e"`,
	`"\ud800"`, // the last: it comes up as it is, but is no text to send down
}

// (g) Every byte of a payload survives, up and down and back again.
func TestCheckGPayloadsSurviveTheRoundTrip(t *testing.T) {
	host(t, plan{server: ccssim.Options{SplitBytes: 3}}, func(w *whole) {
		for i, value := range nasty {
			data := fmt.Sprintf(`{"v":%s, "i" : "%d"}`, value, i)
			if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: fmt.Sprint("u", i), Data: json.RawMessage(data)}); err != nil {
				t.Fatal(err)
			}
		}
		w.until("acks", func() bool { return w.srv.Counts().Acked == uint64(len(nasty)) })
		for i, u := range w.upstreams() {
			want := compact(t, []byte(fmt.Sprintf(`{"v":%s, "i" : "%d"}`, nasty[i], i))) // ccssim marshals it, which takes out the spaces
			if got := unescaped(string(u.Data)); got != unescaped(want) {
				t.Errorf("up: %s, want %s", got, want)
			}
			if i < len(nasty)-1 {
				w.send(message.Downstream{To: message.Token("tokB"), MessageID: fmt.Sprint("d-", i), Data: u.Data})
			}
		}
		w.acked(len(nasty) - 1)
		d, _ := w.srv.Device("tokB")
		for i, u := range w.upstreams()[:len(nasty)-1] {
			if got := string(d.Last[i].Data); got != string(u.Data) {
				t.Errorf("down: %s, want %s", got, u.Data)
			}
		}
		if n := w.srv.Counts().StreamErrors; n > 0 {
			t.Errorf("%d stream errors", n)
		}
	})
}

// unescaped undoes the three escapes that Go's encoder, ccssim's, puts in.
func unescaped(s string) string {
	return strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(s)
}

// (h) Unknown things are harmless, wherever they can stand.
func TestCheckHUnknownThingsAreHarmless(t *testing.T) { // P10
	host(t, plan{}, func(w *whole) {
		for _, payload := range []string{
			`{"message_type":"hello","from":"tokA"}`,
			`{"message_type":"control","control_type":"REBALANCE","message_id":"1"}`,
			`{"message_type":"control"}`,
			`{"message_type":{"a":1},"message_id":"1"}`,
			`{"message_type":"ack","from":"tokA","message_id":"never","canary":[1,2]}`,
		} {
			w.srv.Inject(gcm(payload))
		}
		w.srv.Nack(ccssim.Nack{Token: "odd", Code: "NEVER_HEARD_OF", Description: "x"})
		if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: "7",
			Payload: `{"from":"tokA","message_id":"7","data":{"a":"b"},"priority":{"x":[null]},"time_to_live":86400,"canary":true}`}); err != nil {
			t.Fatal(err)
		}
		w.send(one("odd", "d-1", nil))
		w.sendN("tokA", 2, 5)
		w.acked(6) // the odd one as after INTERNAL_SERVER_ERROR: again, later
		w.until("ack", func() bool { return w.srv.Counts().Acked == 1 })
		if u := w.upstreams(); len(u) != 1 || !strings.Contains(string(u[0].Raw), `"canary":true`) {
			t.Errorf("stored %+v", u)
		}
		if c := w.srv.Counts(); c.Logins != 1 || c.StreamErrors > 0 {
			t.Errorf("the stream broke: %+v", c)
		}
		if n := len(w.bodies(entry.Receipt)); n > 0 {
			t.Errorf("%d receipts out of nothing", n)
		}
		w.legal()
	})
}

// (i) A refused login is tried less and less often, and by one connection
// alone, however many the session has.
func TestCheckIRefusedLoginDoesNotStorm(t *testing.T) { // P10
	for _, connections := range []int{1, 100} {
		p := plan{unopened: true, session: func(o *ccs.Options) { o.Key, o.Connections = "wrong", connections }}
		host(t, p, func(w *whole) {
			time.Sleep(29 * time.Second)
			if n := w.srv.Counts().Connections; n != 1 {
				t.Errorf("%d connections: %d tries in 29 s, want 1", connections, n)
			}
			time.Sleep(time.Hour)
			if n := w.srv.Counts().Connections; n < 12 || n > 30 {
				t.Errorf("%d connections: %d tries in an hour, want 12 to 30", connections, n)
			}
			if n := strings.Count(w.log.String(), "[ERROR]"); n != 1 {
				t.Errorf("%d connections: %d errors logged, want 1", connections, n)
			}
		})
	}
}

// (j) A link that swallows everything is found within ping interval + timeout.
func TestCheckJBlackHoleIsFound(t *testing.T) { // P10
	for _, pending := range []int{0, 50} {
		host(t, plan{}, func(w *whole) {
			time.Sleep(7*time.Minute + 13*time.Second)
			if c := w.srv.Counts(); c.Logins != 1 {
				t.Fatalf("%d logins in 7 idle minutes", c.Logins)
			}
			w.srv.CutWith(ccssim.Cut{Mode: ccssim.CutBlackhole}) //nolint:errcheck // a mode that exists
			lost := time.Now()
			w.sendN("tokA", 1, pending)
			w.until("the connection's end", func() bool { return w.sessions[0].Status().LastError != nil })
			if d := time.Since(lost); d > 30*time.Second {
				t.Errorf("found after %v, want 20 s + 10 s at most", d)
			}
			w.acked(pending)
			synctest.Wait()
			if got := w.received("tokA"); !slices.Equal(got, ids(1, pending)) {
				t.Errorf("received %q", got)
			}
			w.legal()
		})
	}
}
