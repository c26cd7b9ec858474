package ccssim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"balhost/host/internal/xmpp"
)

func decodeJSON(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return m
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}

func TestDownstream(t *testing.T) {
	s := newServer(t, Options{})
	s.SetCanonical("old", "new")
	c := login(t, s)
	c.downstream(`{"to":"tok","message_id":"m1","data":{"k":"<&>"},"time_to_live":0}`)
	equal(t, "ack", fmt.Sprint(c.payload()), "map[from:tok message_id:m1 message_type:ack]")
	c.downstream(`{"to":"tok","message_id":"m1","data":{"k":"2"}}`)
	c.payload()
	c.downstream(`{"to":"old","message_id":"m2","notification":{"title":"T"}}`)
	equal(t, "canonical", fmt.Sprint(c.payload()), "map[from:old message_id:m2 message_type:ack registration_id:new]")
	c.downstream(`{"to":"dry","message_id":"m3","dry_run":true}`)
	c.payload()

	d := must(s.Device("tok"))
	equal(t, "received", d.Received, 2)
	equal(t, "duplicates", d.Duplicates, 1)
	equal(t, "data", string(d.Last[0].Data), `{"k":"<&>"}`)
	equal(t, "second is a duplicate", d.Last[1].Duplicate && !d.Last[0].Duplicate, true)
	equal(t, "order", d.Last[1].Order, 2)
	equal(t, "the new token got it", must(s.Device("new")).Last[0].MessageID, "m2")
	if _, ok := s.Device("dry"); ok {
		t.Error("a dry run was delivered")
	}
}

// Spec: ccs-protocol.md §3.1, §4.1, §4.2.
func TestInvalidDownstreams(t *testing.T) {
	c := login(t, newServer(t, Options{}))
	big := strings.Repeat("x", 4095)
	for _, tt := range []struct{ json, want string }{
		{`{`, "400"},
		{`[]`, "400"},
		{`"m"`, "400"},
		{`{"to":"t"}`, "400"},
		{`{"to":"t","message_id":7}`, "400"},
		{`{"message_id":"m"}`, "MissingRegistration"},
		{`{"to":"t","condition":"'a' in topics","message_id":"m"}`, "MissingRegistration"},
		{`{"to":7,"message_id":"m"}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","time_to_live":"60"}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","time_to_live":2419201}`, "INVALID_TTL"},
		{`{"to":"t","message_id":"m","time_to_live":-1}`, "INVALID_TTL"},
		{`{"to":"t","message_id":"m","data":{"k":1}}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","data":{"k":null}}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","data":[]}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","notification":{"body_loc_args":["a"]}}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","data":{"gcm.x":"1"}}`, "InvalidDataKey"},
		{`{"to":"t","message_id":"m","data":{"from":"1"}}`, "InvalidDataKey"},
		{`{"to":"t","message_id":"m","data":{"k":"` + big + `"}}`, ""},
		{`{"to":"t","message_id":"m","data":{"kk":"` + big + `"}}`, "MessageTooBig"},
		{`{"to":"/topics/t","message_id":"m","data":{"k":"` + big[:2048] + `"}}`, "MessageTooBig"},
		{`{"to":"/topics/t","message_id":"m","data":{"k":"` + big[:2047] + `"}}`, ""},
		{`{"condition":"'a' in topics || 'b' in topics && 'c' in topics && 'd' in topics","message_id":"m"}`, "two operators"},
		{`{"to":"t","message_id":"m","priority":"urgent"}`, "priority"},
		{`{"to":"t","message_id":"m","dry_run":"yes"}`, "JSON_TYPE_ERROR"},
		{`{"to":"t","message_id":"m","message_type":"receipt"}`, "message_type"},
		{`{"to":"t","message_id":"m","later":{"unknown":[1]}}`, ""},
	} {
		c.downstream(tt.json)
		st := c.stanza()
		var m map[string]string
		json.Unmarshal(st.GCM, &m)
		switch {
		case tt.want == "400":
			if st.Err == nil || st.Err.Code != "400" || st.Err.Condition != "bad-request" || st.ID != "s1" || string(st.GCM) != tt.json {
				t.Errorf("%.80s: got %+v, want the stanza error 400 with the payload", tt.json, st)
			}
		case tt.want == "":
			equal(t, tt.json[:40], m["message_type"], "ack")
		case m["message_type"] != "nack" || m["error"] != "INVALID_JSON" || !strings.Contains(m["error_description"], tt.want):
			t.Errorf("%.80s: got %v, want nack INVALID_JSON with %s", tt.json, m, tt.want)
		}
	}
}

func TestNacks(t *testing.T) {
	s := newServer(t, Options{})
	c := login(t, s)
	s.Nack(Nack{Count: -1, Code: "DEVICE_UNREGISTERED", Token: "gone-*"})
	s.Nack(Nack{Count: 2, Code: "SERVICE_UNAVAILABLE", Description: "later"})
	send := func(to string) string {
		c.downstream(`{"to":"` + to + `","message_id":"m"}`)
		m := c.payload()
		return fmt.Sprintf("%v %v %v", m["message_type"], m["error"], m["error_description"])
	}
	for i, want := range []string{"nack SERVICE_UNAVAILABLE later", "nack SERVICE_UNAVAILABLE later", "ack <nil> <nil>"} {
		equal(t, "token", send("t"), want)
		equal(t, fmt.Sprint("gone ", i), send("gone-1"), "nack DEVICE_UNREGISTERED ")
	}
	s.ClearNacks()
	equal(t, "cleared", send("gone-1"), "ack <nil> <nil>")
	equal(t, "nacked", s.Counts().Nacked, 5)

	c.write(`<message><gcm xmlns="google:mobile:data">{"message_type":"ack","message_id":"x"}</gcm></message>`)
	equal(t, "an ack without to", c.payload()["error"], any("BAD_ACK"))
}

// P3: the 101st unanswered downstream is counted, whatever OverLimit says.
func TestOverLimit(t *testing.T) {
	for _, mode := range []OverLimit{OverNack, OverStop, OverClose} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, Options{OverLimit: mode, AckDelay: Range{Min: patience / 2}, Keepalive: -1})
			c := login(t, s)
			for i := range 100 {
				c.downstream(fmt.Sprintf(`{"to":"t","message_id":"m%d"}`, i))
			}
			synctest.Wait()
			equal(t, "violations of 100", s.Counts().OverLimit, 0)
			c.downstream(`{"to":"t","message_id":"m100"}`)
			synctest.Wait()
			equal(t, "violations of 101", s.Counts().OverLimit, 1)
			equal(t, "most at a time", s.Report().Conns[0].MaxUnanswered, map[OverLimit]int{OverNack: 101, OverStop: 100, OverClose: 100}[mode])
			if mode == OverClose {
				_, err := c.read()
				var se *xmpp.StreamError
				equal(t, "policy violation", errors.As(err, &se) && se.Condition == "policy-violation", true)
			} else {
				for range 100 {
					equal(t, "within the limit", c.payload()["message_type"], any("ack"))
				}
				want := map[OverLimit]any{OverNack: "nack", OverStop: "ack"}[mode]
				equal(t, "the one over", c.payload()["message_type"], want)
				c.downstream(`{"to":"t","message_id":"m101"}`)
				equal(t, "room again", c.payload()["message_type"], any("ack"))
				equal(t, "violations in the end", s.Counts().OverLimit, 1)
			}
			s.Close()
		})
	}
}

func TestNeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Pending: 1})
		c := login(t, s)
		s.Nack(Nack{})
		c.downstream(`{"to":"t","message_id":"m1"}`)
		c.silent(time.Hour)
		equal(t, "on purpose", s.Counts().Unanswered, 1)
		c.downstream(`{"to":"t","message_id":"m2"}`)
		equal(t, "it holds its place", c.payload()["error"], any("SERVICE_UNAVAILABLE"))
		s.Close()
	})
}

// A range of delays changes the order of replies. No reply comes early or late.
func TestAckDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{AckDelay: Range{time.Second, 3 * time.Second}, Seed: 7})
		c := login(t, s)
		begin := time.Now()
		for i := range 50 {
			c.downstream(fmt.Sprintf(`{"to":"t","message_id":"%02d"}`, i))
		}
		var got []string
		for range 50 {
			got = append(got, c.payload()["message_id"].(string))
			if d := time.Since(begin); d < time.Second || d > 3*time.Second {
				t.Errorf("answered after %v", d)
			}
		}
		ordered := true
		for i := 1; i < len(got); i++ {
			ordered = ordered && got[i-1] < got[i]
		}
		equal(t, "in order", ordered, false)
		s.Close()
	})
}

func TestReceipts(t *testing.T) {
	s := newServer(t, Options{Receipts: true})
	c := login(t, s)
	for _, to := range []string{"gcm.googleapis.com", "tok"} {
		c.downstream(`{"to":"tok","message_id":"m1","delivery_receipt_requested":true}`)
		var receipt map[string]any
		for range 2 { // either may be first
			if m := c.payload(); m["message_type"] == "receipt" {
				receipt = m
			}
		}
		equal(t, "id", receipt["message_id"], any("dr2:m1"))
		equal(t, "from", receipt["from"], any("gcm.googleapis.com"))
		data := receipt["data"].(map[string]any)
		equal(t, "original", data["original_message_id"], any("m1"))
		equal(t, "device", data["device_registration_id"], any("tok"))
		c.ack(to, "m1") // "dr2:" is part of the id, so this is wrong
		equal(t, "stripped id", c.stanza().Err.Code, "406")
		c.ack(to, "dr2:m1")
	}
	await(t, s, func(c Counts) bool { return c.ReceiptsAcked == 2 })
	equal(t, "no upstream", s.Counts().Acked, 0)
}

func TestDevicesForgetTheOldest(t *testing.T) {
	d := device{seen: map[string]int{}}
	for i := range 10 {
		d.receive(Received{MessageID: fmt.Sprint(i % 4)}, 3)
	}
	equal(t, "received", d.receivedN, 10)
	equal(t, "remembered", len(d.received), 3)
	equal(t, "ids", len(d.seen), 3)
	equal(t, "duplicates", d.duplicates, 0) // each came again only after the device had forgotten it
}

// FuzzScanAck: scanAck reads the same as encoding/json.
func FuzzScanAck(f *testing.F) {
	f.Add([]byte(`{"to":"t","message_id":"1","message_type":"ack"}`))
	f.Add([]byte(`{"message_type":"ack","message_id":"1","to":"t","to":"u"}`))
	f.Add([]byte(`{"to":"t","message_id":"1","message_type":"ack"}}`))
	f.Add([]byte(`{"to":"\u0074","message_id":"1","message_type":"ack"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		to, id, ok := scanAck(b)
		if !ok || !json.Valid(b) || !utf8.Valid(b) { // the XML reader gives an error for control characters and bad UTF-8
			return
		}
		m, err := decode(b)
		if err != nil || !m.isAck || m.target != string(to) || m.id != string(id) {
			t.Errorf("%q: scanned %q %q, decoded %q %q (%v)", b, to, id, m.target, m.id, err)
		}
	})
}
