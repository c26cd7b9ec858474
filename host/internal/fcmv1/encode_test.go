package fcmv1

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"balhost/sdk/message"
)

// Every row of B1, as the whole body. apns has a collapse id in each, and priority 5
// where there is data alone.
func TestAppendRequest(t *testing.T) {
	const id = `"bal_id":"d-1"`
	ttl := message.TTL(time.Hour)
	long := strings.Repeat("k", 65)
	for _, c := range []struct {
		name string
		d    message.Downstream
		seq  uint64
		ttl  *time.Duration
		want string
	}{
		{"a token", message.Downstream{To: message.Token("t:1"), Data: map[string]string{"a": "b"}}, 0, nil,
			`{"message":{"token":"t:1","data":{"a":"b",` + id + `},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"an FID, no data", message.Downstream{To: message.FID("fid_22")}, 0, nil,
			`{"message":{"fid":"fid_22","data":{` + id + `},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"a topic, data as it was written", message.Downstream{To: message.Topic("news"), Data: json.RawMessage(` { "a" : "\u003c<é" } `)}, 0, nil,
			`{"message":{"topic":"news","data":{"a" : "\u003c<é",` + id + `},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"a condition, an empty object", message.Downstream{To: message.Condition("'a' in topics && 'b' in topics"), Data: json.RawMessage(`{ }`)}, 0, nil,
			`{"message":{"condition":"'a' in topics && 'b' in topics","data":{` + id + `},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"a group", message.Downstream{To: message.Token("t"), Group: "g"}, 1234, nil,
			`{"message":{"token":"t","data":{` + id + `,"bal_seq":"1234"},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"a receipt", message.Downstream{To: message.Token("t"), Options: message.Options{ReceiptRequested: true}}, 1234, nil,
			`{"message":{"token":"t","data":{` + id + `,"bal_receipt":"1"},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"a dry run", message.Downstream{To: message.Token("t"), Options: message.Options{DryRun: true}}, 0, nil,
			`{"validate_only":true,"message":{"token":"t","data":{` + id + `},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}}}}`},
		{"what remains of the TTL", message.Downstream{To: message.Token("t"), Options: message.Options{TTL: ttl}}, 0, message.TTL(90500 * time.Millisecond),
			`{"message":{"token":"t","data":{` + id + `},"android":{"ttl":"90s"},"apns":{"headers":{"apns-priority":"5","apns-expiration":"1793707290","apns-collapse-id":"d-1"}},"webpush":{"headers":{"TTL":"90"}}}}`},
		{"now or never", message.Downstream{To: message.Token("t"), Options: message.Options{TTL: message.TTL(0)}}, 0, message.TTL(0),
			`{"message":{"token":"t","data":{` + id + `},"android":{"ttl":"0s"},"apns":{"headers":{"apns-priority":"5","apns-expiration":"0","apns-collapse-id":"d-1"}},"webpush":{"headers":{"TTL":"0"}}}}`},
		{"high priority, data alone", message.Downstream{To: message.Token("t"), Options: message.Options{Priority: message.PriorityHigh}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"android":{"priority":"HIGH"},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}},"webpush":{"headers":{"Urgency":"high"}}}}`},
		{"high priority, shown", message.Downstream{To: message.Token("t"), Notification: map[string]string{"title": "A", "body": "B"}, Options: message.Options{Priority: message.PriorityHigh}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"notification":{"title":"A","body":"B"},"android":{"priority":"HIGH","notification":{"tag":"d-1"}},"apns":{"headers":{"apns-priority":"10","apns-collapse-id":"d-1"}},"webpush":{"headers":{"Urgency":"high"}}}}`},
		{"normal priority, shown", message.Downstream{To: message.Token("t"), Notification: map[string]string{"title": "A"}, Options: message.Options{Priority: message.PriorityNormal}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"notification":{"title":"A"},"android":{"priority":"NORMAL","notification":{"tag":"d-1"}},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"d-1"}},"webpush":{"headers":{"Urgency":"normal"}}}}`},
		{"no priority, shown", message.Downstream{To: message.Token("t"), Notification: map[string]string{"title": "A"}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"notification":{"title":"A"},"android":{"notification":{"tag":"d-1"}},"apns":{"headers":{"apns-collapse-id":"d-1"}}}}`},
		{"a collapse key", message.Downstream{To: message.Token("t"), Options: message.Options{CollapseKey: "ride"}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"android":{"collapse_key":"ride"},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"ride"}},"webpush":{"headers":{"Topic":"ride"}}}}`},
		{"a collapse key that is long", message.Downstream{To: message.Token("t"), Options: message.Options{CollapseKey: long}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"android":{"collapse_key":"` + long + `"},"apns":{"headers":{"apns-priority":"5","apns-collapse-id":"` + hash(long, 32) + `"}},"webpush":{"headers":{"Topic":"` + hash(long, 24) + `"}}}}`},
		{"content available, data alone", message.Downstream{To: message.Token("t"), Options: message.Options{ContentAvailable: true}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"apns":{"headers":{"apns-priority":"5","apns-push-type":"background","apns-collapse-id":"d-1"},"payload":{"aps":{"content-available":1}}}}}`},
		{"content available and mutable, shown", message.Downstream{To: message.Token("t"), Notification: map[string]string{"title": "A"}, Options: message.Options{ContentAvailable: true, MutableContent: true}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"notification":{"title":"A"},"android":{"notification":{"tag":"d-1"}},"apns":{"headers":{"apns-collapse-id":"d-1"},"payload":{"aps":{"content-available":1,"mutable-content":1}}}}}`},
		{"a notification with all that CCS had", message.Downstream{To: message.Token("t"), Notification: map[string]string{
			"title": "A", "body": "B", "icon": "i", "color": "#aabbcc", "sound": "s", "tag": "g", "click_action": "OPEN", "android_channel_id": "c",
			"body_loc_key": "bk", "body_loc_args": `["1"]`, "title_loc_key": "tk", "title_loc_args": `["2","3"]`, "badge": "7", "subtitle": "S"}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"notification":{"title":"A","body":"B"},` +
				`"android":{"notification":{"channel_id":"c","body_loc_args":["1"],"body_loc_key":"bk","click_action":"OPEN","color":"#aabbcc","icon":"i","sound":"s","tag":"g","title_loc_args":["2","3"],"title_loc_key":"tk"}},` +
				`"apns":{"headers":{"apns-collapse-id":"d-1"},"payload":{"aps":{"alert":{"subtitle":"S","title-loc-key":"tk","title-loc-args":["2","3"],"loc-key":"bk","loc-args":["1"],"title":"A","body":"B"},"badge":7,"sound":"s","category":"OPEN"}}},` +
				`"webpush":{"notification":{"icon":"i"}}}}`},
		{"a link and an image", message.Downstream{To: message.Token("t"), Notification: map[string]string{"image": "https://x/i", "click_action": "https://x/"}}, 0, nil,
			`{"message":{"token":"t","data":{` + id + `},"notification":{"image":"https://x/i"},"android":{"notification":{"click_action":"https://x/","tag":"d-1"}},` +
				`"apns":{"headers":{"apns-collapse-id":"d-1"},"payload":{"aps":{"category":"https://x/"}}},"webpush":{"fcm_options":{"link":"https://x/"}}}}`},
		{"raw blocks win, and get what they lack", message.Downstream{To: message.Token("t"), Group: "g", Data: map[string]string{"a": "b"}, Options: message.Options{
			TTL: ttl, Priority: message.PriorityHigh, CollapseKey: "ride", ReceiptRequested: true,
			Android: json.RawMessage(`{"collapse_key":"own","ttl":"5s","notification":{"title":"x"},"data":{"k":"v"}}`),
			APNS:    json.RawMessage(`{"headers":{"apns-priority":"10"},"payload":{"aps":{"alert":"x"},"mine":[1]}}`),
			Webpush: json.RawMessage(`{"headers":{"Urgency":"low"},"fcm_options":{"analytics_label":"l"}}`)}}, 9, ttl,
			`{"message":{"token":"t","data":{"a":"b",` + id + `,"bal_seq":"9","bal_receipt":"1"},` +
				`"android":{"collapse_key":"own","priority":"HIGH","ttl":"5s","data":{` + id + `,"bal_seq":"9","bal_receipt":"1","k":"v"},"notification":{"tag":"d-1","title":"x"}},` +
				`"apns":{"headers":{"apns-priority":"10","apns-expiration":"1793710800","apns-collapse-id":"ride"},"payload":{"aps":{"alert":"x"},"mine":[1]}},` +
				`"webpush":{"headers":{"TTL":"3600","Urgency":"low","Topic":"ride"},"fcm_options":{"analytics_label":"l"}}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.MessageID = "d-1"
			m, err := c.d.Checked()
			if err != nil {
				t.Fatal(err)
			}
			got, err := appendRequest(nil, outgoing{message: m, seq: c.seq, ttl: c.ttl}, t0)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !json.Valid(got) {
				t.Error("that is not JSON")
			}
		})
	}
}

// What v1 can't carry is not sent: the outcome has the reasons.
func TestUnsupported(t *testing.T) {
	for name, d := range map[string]message.Downstream{
		"a key of a notification": {To: message.Token("t"), Notification: map[string]string{"unknown": "x"}},
		"the host's own key":      {To: message.Token("t"), Data: map[string]string{"bal_id": "x"}},
		"a field of a block":      {To: message.Token("t"), Options: message.Options{Android: json.RawMessage(`{"unknown":1}`)}},
		"10 for data alone":       {To: message.Token("t"), Options: message.Options{APNS: json.RawMessage(`{"headers":{"apns-priority":"10"}}`)}},
	} {
		d.MessageID = "d-1"
		m, err := d.Checked()
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := appendRequest(nil, outgoing{message: m}, t0); !errors.As(err, new(*message.Problem)) || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// An Apple collapse id has 64 bytes at most, and is the same each time.
func TestCollapseID(t *testing.T) {
	for _, n := range []int{1, 64, 65, 255} {
		id := strings.Repeat("é", n)[:n]
		got := collapseID("", id)
		if len(got) > 64 || n <= 64 && got != id || got != collapseID("", id) || n > 64 && got == collapseID("", id+"x") {
			t.Errorf("%d bytes: %q", n, got)
		}
	}
	for key, same := range map[string]bool{"ride": true, strings.Repeat("a", 32): true, strings.Repeat("a", 33): false, "a b": false, "ü": false} {
		if got := webTopic(key); len(got) > 32 || (got == key) != same {
			t.Errorf("%q: %q", key, got)
		}
	}
}

// FuzzAppendRequest: what fits is encoded, and is JSON with exactly one bal_id, last in data.
func FuzzAppendRequest(f *testing.F) {
	f.Add(`{"a":"b"}`, `{"title":"x"}`, `{"data":{"k":"x"}}`, `{"payload":{"aps":{}}}`, "d-1", "ride", int64(5))
	f.Add(`{}`, `{"badge":"3","sticky":"true","vibrate_timings":"[\"1s\"]"}`, `{"notification":{"light_settings":{"a":[]}}}`, `{"headers":{"apns-priority":"5"},"payload":{"aps":{"alert":{}}}}`, "d-1", "", int64(0))
	f.Fuzz(func(t *testing.T, data, shown, android, apns, id, key string, ttl int64) {
		d := message.Downstream{To: message.Token("t"), Data: json.RawMessage(data), Notification: json.RawMessage(shown), MessageID: id,
			Options: message.Options{Android: json.RawMessage(android), APNS: json.RawMessage(apns), CollapseKey: key}}
		m, err := d.Checked()
		if err != nil || m.MessageID == "" {
			return
		}
		left := time.Duration(ttl)
		got, err := appendRequest(nil, outgoing{message: m, ttl: &left}, t0)
		if fits := m.Fits(message.FCMv1); (err == nil) != (fits == nil) {
			t.Fatalf("fits: %v; encoded: %v", fits, err)
		} else if err != nil {
			return
		}
		var back struct {
			Message struct {
				Data map[string]string `json:"data"`
				APNS struct {
					Headers map[string]string `json:"headers"`
				} `json:"apns"`
			} `json:"message"`
		}
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		if back.Message.Data[message.DataID] != id || bytes.Count(got, []byte(`"data":{`)) == 0 {
			t.Fatalf("%s", got)
		}
		if p := back.Message.APNS.Headers["apns-priority"]; m.DataOnly() && p != "5" && p != "1" {
			t.Fatalf("data alone with priority %q: %s", p, got)
		}
	})
}
