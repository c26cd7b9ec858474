package ccs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// Numbers 14 to 26 of ccs-protocol.md §11; see mistakes_test.go.

// 14: an upstream is acked before it is stored, or never because of its content.
func TestMistake14AckBeforePersistOrNever(t *testing.T) { // P1
	host(t, plan{commit: 5 * time.Second}, func(w *whole) {
		payloads := []string{
			`{"from":"tokA","message_id":"1","category":"app","data":{"action":"known"}}`,
			`{"from":"tokA","message_id":"2","data":{"no":"action"}}`,
			`{"from":"tokA","message_id":"3"}`,
			`{"from":"tokA","message_id":"4","data":{}}`,
			`{"from":"tokA","message_id":"5","data":"not an object"}`,
			`{"from":"tokA","message_id":"6","data":{"cut":"`,
		}
		for i, p := range payloads {
			if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: fmt.Sprint(i + 1), Payload: p}); err != nil {
				t.Fatal(err)
			}
		}
		sent := time.Now()
		w.until("acks", func() bool {
			c := w.srv.Counts()
			if stored := w.led.Counts().Accepted; c.Acked > stored {
				t.Errorf("P1: %d acked, %d stored", c.Acked, stored)
			}
			return c.Acked == 6
		})
		if d := time.Since(sent); d < 5*time.Second {
			t.Errorf("acked after %v, before any commit", d)
		}
		dead, err := w.led.Dead("", 10)
		if err != nil || len(dead) != 2 || len(w.upstreams()) != 4 {
			t.Errorf("%d stored, dead letters %+v (%v)", len(w.upstreams()), dead, err)
		}
		w.legal()
	})
}

// 15: repeats are not recognised, or by the message id alone, which two devices may have
// in common.
func TestMistake15Dedupe(t *testing.T) { // P6
	host(t, plan{server: ccssim.Options{Duplicates: 0.9}}, func(w *whole) {
		send := func(token, id, data string) {
			if _, err := w.srv.Send(ccssim.Upstream{From: token, MessageID: id, Data: json.RawMessage(data)}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 5 { // two devices that count, each message mostly written twice
			send("tokA", fmt.Sprint(i), `{"d":"a"}`)
			send("tokB", fmt.Sprint(i), `{"d":"b"}`)
		}
		send("tokA", "0", `{"d":"the app was installed anew, and counts from 0"}`)
		w.until("acks", func() bool { c := w.srv.Counts(); return c.Acked == 11 && c.AckedAgain == c.Redelivered })
		if n := len(w.upstreams()); n != 11 {
			t.Errorf("%d stored, want 11", n)
		}
		if n := w.srv.Counts().Redelivered; n == 0 {
			t.Error("nothing was written twice")
		}
		w.legal()
	})
}

// 16: receipts are not acked, or acked without their prefix, or something waits for them.
func TestMistake16Receipts(t *testing.T) {
	for _, first := range []bool{false, true} {
		host(t, plan{server: ccssim.Options{Receipts: true, ReceiptFirst: first}}, func(w *whole) {
			for i := range 200 { // twice CCS's window: one that is not acked would hold a slot
				m := one("tokA", fmt.Sprint("d-", i), nil)
				m.Options.ReceiptRequested = true
				w.send(m)
			}
			w.acked(200)
			w.until("acked receipts", func() bool { return w.srv.Counts().ReceiptsAcked == 200 })
			receipts := w.bodies(entry.Receipt)
			if len(receipts) != 200 || receipts[0].Receipt.OriginalMessageID != "d-0" || receipts[0].Receipt.Device != "tokA" {
				t.Errorf("%d receipts", len(receipts))
			}
			w.srv.Inject(gcm(`{"message_type":"receipt","from":"gcm.googleapis.com","message_id":"dr2:unknown","category":"app","data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":"unknown"}}`))
			w.until("the receipt of an unknown message", func() bool { return len(w.bodies(entry.Receipt)) == 201 })
			if e := w.led.Events(0, 1000); e[len(e)-1].Category != "app" || e[len(e)-1].Plugin != "" {
				t.Errorf("it belongs to %+v", e[len(e)-1])
			}
		})
	}
	host(t, plan{}, func(w *whole) { // and when none comes, as since 2019
		m := one("tokA", "d-1", nil)
		m.Options.ReceiptRequested = true
		w.send(m)
		w.acked(1)
	})
}

// 17: nacks are not retried, or at once, or for ever, or nobody hears of them.
func TestMistake17Nacks(t *testing.T) { // P4
	for code, want := range map[string]struct {
		times int           // that CCS refuses
		least time.Duration // until the last outcome
		most  time.Duration
		end   message.OutcomeStatus
	}{
		"SERVICE_UNAVAILABLE":          {3, 3 * time.Second, 20 * time.Second, message.Acked}, // 1, 2, 4 s at least
		"INTERNAL_SERVER_ERROR":        {3, 3 * time.Second, 20 * time.Second, message.Acked},
		"NEVER_HEARD_OF":               {3, 3 * time.Second, 20 * time.Second, message.Acked},
		"":                             {1, 60 * time.Second, 3 * time.Minute, message.Acked}, // no answer at all
		"DEVICE_MESSAGE_RATE_EXCEEDED": {1, time.Minute, 5 * time.Minute, message.Acked},
		"SENDER_ID_MISMATCH":           {1, 0, time.Second, message.Failed},
		"DEVICE_UNREGISTERED":          {1, 0, time.Second, message.Failed},
		"INVALID_JSON":                 {1, 0, time.Second, message.Failed},
		"AUTHENTICATION_FAILED":        {1, 5 * time.Minute, 6 * time.Minute, message.Acked},
	} {
		host(t, plan{server: ccssim.Options{Keepalive: time.Second}}, func(w *whole) {
			w.srv.Nack(ccssim.Nack{Count: want.times, Code: code, Description: "why"})
			began := time.Now()
			w.send(one("tokA", "d-1", nil))
			w.until("outcome", func() bool { return len(w.outcomes()) == 1 })
			took, o := time.Since(began), w.outcomes()["d-1"]
			if o.Status != want.end || took < want.least || took > want.most+want.most/5 {
				t.Errorf("%q: %v %s after %v", code, o.Status, o.Code, took)
			}
			if o.Status == message.Failed && (o.Code != code || o.Description != "why") {
				t.Errorf("%q: %+v", code, o)
			}
			w.sendN("tokA", 2, 150) // no slot has leaked
			w.until("the rest", func() bool { return len(w.outcomes()) == 151 })
		})
	}
	host(t, plan{}, func(w *whole) { // for ever is 15 times, restarts included
		w.srv.Nack(ccssim.Nack{Count: -1, Code: "SERVICE_UNAVAILABLE"})
		w.send(one("tokA", "d-1", nil))
		for i := range 5 {
			w.until("some attempts", func() bool { return w.srv.Counts().Nacked > uint64(2*i) })
			w.restart()
		}
		w.until("outcome", func() bool { return len(w.outcomes()) == 1 })
		if o := w.outcomes()["d-1"]; o.Status != message.Failed || o.Code != "SERVICE_UNAVAILABLE" || w.srv.Counts().Nacked != 15 {
			t.Errorf("%+v after %d nacks", o, w.srv.Counts().Nacked)
		}
	})
}

// 18: the new token in an ack is thrown away.
func TestMistake18CanonicalToken(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		w.srv.SetCanonical("old", "new")
		w.send(one("old", "d-1", nil))
		w.send(one("other", "d-2", nil))
		w.acked(2)
		if o := w.outcomes()["d-1"]; o.NewToken != "new" || o.To.Token != "old" {
			t.Errorf("outcome %+v", o)
		}
		if o := w.outcomes()["d-2"]; o.NewToken != "" {
			t.Errorf("outcome %+v", o)
		}
	})
}

// 19: ids are taken for numbers, or are not echoed as they came.
func TestMistake19NumericIDs(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		odd := []string{"-1", "007", "9223372036854775808", "18446744073709551616000", "1e3", "0x10", "ü😀", `a"b\c`, "<&>", " space ", "dr2:1", strings.Repeat("i", 255)}
		for _, id := range odd {
			if _, err := w.srv.Send(ccssim.Upstream{From: "tokA", MessageID: id, Data: json.RawMessage(`{}`)}); err != nil {
				t.Fatal(err)
			}
			w.send(one("tokB", id, nil))
		}
		w.acked(len(odd))
		w.until("acks", func() bool { return w.srv.Counts().Acked == uint64(len(odd)) })
		var stored []string
		for _, u := range w.upstreams() {
			stored = append(stored, u.MessageID)
		}
		same(t, "stored", stored, odd)
		same(t, "received", w.received("tokB"), odd)
		w.legal()
	})
}

// 20: wrong types on the wire, which CCS answers by JSON_TYPE_ERROR.
func TestMistake20Types(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		for _, m := range []message.Downstream{
			{To: message.Token("t"), Data: map[string]any{"n": 7}},
			{To: message.Token("t"), Data: map[string]any{"b": true}},
			{To: message.Token("t"), Data: map[string]any{"o": map[string]string{}}},
			{To: message.Token("t"), Data: []string{"no object"}},
			{To: message.Token("t"), Notification: map[string]any{"body_loc_args": []string{"Ann"}}},
			{To: message.Token("t"), Notification: map[string]any{"badge": 1}},
			{To: message.Token("t"), Options: message.Options{TTL: message.TTL(1500 * time.Millisecond)}},
			{To: message.Token("t"), Options: message.Options{TTL: message.TTL(29 * 24 * time.Hour)}},
			{To: message.Token("t"), Data: map[string]string{"from": "x"}},
		} {
			m.MessageID = "bad"
			var problem *message.Problem
			if err := w.trySend(m); !errors.As(err, &problem) || problem.Field == "" || problem.Mend == "" {
				t.Errorf("%+v: %v", m, err)
			}
		}
		m := one("tokA", "d-1", map[string]string{"n": "7"})
		m.Options = message.Options{TTL: message.TTL(10 * time.Minute), ContentAvailable: true, Priority: message.PriorityHigh}
		m.Notification = map[string]string{"body_loc_args": `["Ann","3"]`, "badge": "1"}
		w.send(m)
		w.acked(1)
		said := w.said(1)
		wrote := unescaped(said[len(said)-1])
		for _, want := range []string{`"time_to_live":600,`, `"content_available":true`, `"priority":"high"`, `"body_loc_args":"[\"Ann\",\"3\"]"`} {
			if !strings.Contains(strings.ReplaceAll(wrote, `&quot;`, `"`), want) {
				t.Errorf("no %s in %s", want, wrote)
			}
		}
	})
}

// 21: storms of reconnects, no more tries after one, or a backoff that a bind resets.
func TestMistake21ReconnectStorms(t *testing.T) { // P10
	host(t, plan{session: func(o *ccs.Options) { o.Connections = 20 }}, func(w *whole) {
		w.until("all", func() bool { return w.standing() == 20 })
		before := w.links.set(true)
		w.srv.Cut()
		time.Sleep(3 * time.Hour)
		if n := w.links.set(false) - before; n < 30 || n > 150 { // every 2.5 minutes on average, by one slot
			t.Errorf("%d tries in 3 h without a network", n)
		}
		up := time.Now()
		w.until("all again", func() bool { return w.standing() == 20 })
		if d := time.Since(up); d > 11*time.Minute { // what a slot still has to wait, and one that tried before it
			t.Errorf("back after %v", d)
		}
	})
	host(t, plan{}, func(w *whole) { // CCS lets us in and hangs up, again and again
		before := w.srv.Counts().Logins
		for until := time.Now().Add(2 * time.Hour); time.Now().Before(until); time.Sleep(time.Second) {
			w.srv.Cut()
		}
		if n := w.srv.Counts().Logins - before; n < 20 || n > 120 {
			t.Errorf("%d logins in 2 h that end at once", n)
		}
	})
}

// 22: the backlog is sent newest first.
func TestMistake22LIFO(t *testing.T) { // P3
	host(t, plan{}, func(w *whole) {
		w.links.set(true)
		w.srv.Cut()
		w.sendN("tokA", 1, 500)
		time.Sleep(10 * time.Minute)
		w.links.set(false)
		w.acked(500)
		same(t, "received", w.received("tokA"), ids(1, 500))
	})
}

// 23: something is sent before the bind, or the reader has bytes from before a reconnect
// after it.
func TestMistake23SendingBeforeTheBind(t *testing.T) {
	host(t, plan{unopened: true, session: quick}, func(w *whole) {
		w.sendN("tokA", 1, 100)
		for i := range 30 { // cut in the middle of the login, and of a stanza
			w.until("connection", func() bool { return w.standing() == 1 })
			w.srv.CutWith(ccssim.Cut{After: 20 + i}) //nolint:errcheck // a mode that exists
			w.srv.Upstream("tokA", "app", nil)
			time.Sleep(10 * time.Millisecond)
		}
		w.acked(100)
		w.until("acks", func() bool { return w.srv.Counts().Acked == 30 })
		bound := map[int]bool{}
		for _, l := range w.srv.Transcript() {
			switch {
			case l.Sent && strings.HasPrefix(l.Stanza, `<iq type="result" id="bind">`):
				bound[l.Conn] = true
			case !l.Sent && strings.HasPrefix(l.Stanza, "<message") && !bound[l.Conn]:
				t.Fatalf("connection %d: before its bind: %s", l.Conn, l.Stanza)
			}
		}
		if len(bound) < 20 || w.srv.Counts().StreamErrors > 0 {
			t.Errorf("%d binds, %d stream errors", len(bound), w.srv.Counts().StreamErrors)
		}
	})
}

// 24: a half-open link goes unnoticed, or a failed ping arms the next one only.
func TestMistake24HalfOpen(t *testing.T) { // P10
	host(t, plan{session: func(o *ccs.Options) { o.Connections = 3 }}, func(w *whole) {
		w.until("all", func() bool { return w.standing() == 3 })
		for _, n := range []int{1, 3} {
			w.srv.CutWith(ccssim.Cut{Mode: ccssim.CutBlackhole, Conn: n}) //nolint:errcheck // a mode that exists
		}
		lost := time.Now()
		w.sendN("tokA", 1, 250) // some into the holes
		w.until("both found", func() bool { return w.srv.Counts().Logins == 5 && w.standing() == 3 })
		if d := time.Since(lost); d > 33*time.Second { // ping interval + timeout + two backoffs
			t.Errorf("found after %v", d)
		}
		w.acked(250)
		w.legal()
	})
	host(t, plan{}, func(w *whole) { // one that drips, and answers nothing
		w.srv.Nack(ccssim.Nack{Count: -1})
		w.sendN("tokA", 1, 1)
		time.Sleep(10 * time.Minute)
		if n := w.srv.Counts().Logins; n < 4 || n > 12 {
			t.Errorf("%d logins in 10 minutes without an answer", n)
		}
	})
}

// 25: old TLS, no check of the certificate, or of its name.
func TestMistake25TLS(t *testing.T) {
	srv, err := ccssim.NewServer(ccssim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(srv.CAPEM())
	old, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := old.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake() //nolint:errcheck // it fails
			c.Close()
		}
	}()
	for name, c := range map[string]struct {
		address string
		conf    *tls.Config
		says    string
	}{
		"unknown CA":   {srv.Addr(), &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}, "certificate not trusted"},
		"system roots": {srv.Addr(), &tls.Config{ServerName: "localhost"}, "certificate not trusted"},
		"other name":   {srv.Addr(), &tls.Config{RootCAs: roots, ServerName: "fcm-xmpp.googleapis.com"}, "certificate not trusted"},
		"old TLS":      {old.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS10}, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			s := ccs.New(ccs.Options{Name: "main", Address: c.address, SenderID: srv.SenderID(), Key: srv.Key(), TLS: c.conf, Inbox: nobody{}, Outbox: nobody{}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			for s.Status().LastError == nil && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err := s.Status().LastError; err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want %q", err, c.says)
			}
			cancel()
			<-ended
		})
	}
	if n := srv.Counts().Logins; n > 0 {
		t.Errorf("%d logins over links that nobody should trust", n)
	}
	old.Close()
	<-served
}

// nobody is a ledger and an outbox that do nothing.
type nobody struct{}

func (nobody) Accept(_ entry.Inbound, done func(error)) { done(nil) }
func (nobody) Room() <-chan struct{}                    { return nil }
func (nobody) Changed(string) <-chan struct{}           { return nil }
func (nobody) Take(string, int, int) []entry.Outgoing   { return nil }
func (nobody) Answered(string, uint64, flow.Answer)     {}
func (nobody) Return(string, []uint64, flow.End) bool   { return false }

// 26: lone surrogates and raw controls in the XML, sizes counted in characters.
func TestMistake26EmojiAndControls(t *testing.T) {
	host(t, plan{}, func(w *whole) {
		emoji := strings.Repeat("😀", 1024) // 4096 bytes in 1024 characters
		for name, m := range map[string]message.Downstream{
			"cut in a character": {Data: map[string]string{"v": "😀"[:3]}},
			"raw U+FFFE":         {Data: json.RawMessage("{\"v\":\"\uFFFE\"}")},
			"half a pair":        {Data: json.RawMessage(`{"v":"\ud83d"}`)},
			"raw control":        {Data: json.RawMessage("{\"v\":\"\x01\"}")},
			"too many bytes":     {Data: map[string]string{"v": emoji}},
			"control in its id":  {MessageID: "a\x00b"},
		} {
			m.To = message.Token("tokA")
			if m.MessageID == "" {
				m.MessageID = "bad"
			}
			var problem *message.Problem
			if err := w.trySend(m); !errors.As(err, &problem) {
				t.Errorf("%s: %v", name, err)
			}
		}
		values := []string{"a\x00b\x1fc", "😀 é 漢", emoji[:4092], "\u2028\u007f\uFFFD"}
		for i, v := range values {
			w.send(one("tokA", fmt.Sprint("d-", i), map[string]string{"value"[:1+i%2]: v}))
		}
		w.acked(len(values))
		d, _ := w.srv.Device("tokA")
		for i, v := range values {
			var got map[string]string
			if err := json.Unmarshal(d.Last[i].Data, &got); err != nil || got["value"[:1+i%2]] != v {
				t.Errorf("%d: got %.100q, want %.100q", i, got, v)
			}
		}
		if c := w.srv.Counts(); c.StreamErrors > 0 || c.Logins != 1 {
			t.Errorf("the stream broke: %+v", c)
		}
	})
}
