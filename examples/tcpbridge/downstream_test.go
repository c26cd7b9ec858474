package main

import (
	"fmt"
	"strings"
	"testing"

	"balhost/sdk"
	"balhost/sdk/message"
	"balhost/sdk/plugintest"
)

func downstreamLine(sequence int, id, more string) string {
	return fmt.Sprintf(`{"message_type":"DOWNSTREAM","sequence_id":%d,"group_id":"g","fcm_data":{"to":"ann","message_id":%q,"data":{"say":"hi"}%s}}`, sequence, id, more)
}

// A downstream is acked when it is stored, and sent again, after a reconnect too, it is stored once.
func TestDownstream(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	b.write(`{"message_type":"DOWNSTREAM","group_id":"g","sequence_id":7,"fcm_data":{"to":"/topics/news","message_id":"a1","time_to_live":60,` +
		`"priority":"high","collapse_key":"k","delivery_receipt_requested":true,"dry_run":true,"content_available":true,"mutable_content":true,` +
		`"data":{"say":"hi"},"notification":{"title":"Hi"}}}`)
	b.want(`{"message_type":"ACK","sequence_id":7,"message_id":"a1"}`)
	d := s.Sent()[0]
	o := d.Options
	if d.MessageID != app+"/a1" || d.Group != "g" || d.To != sdk.Topic("news") || o.TTL.Seconds() != 60 || o.Priority != sdk.PriorityHigh || o.CollapseKey != "k" ||
		!o.ReceiptRequested || !o.DryRun || !o.ContentAvailable || !o.MutableContent || string(plugintest.JSON(d.Data)) != `{"say":"hi"}` || string(plugintest.JSON(d.Notification)) != `{"title":"Hi"}` {
		t.Errorf("sent %+v", d)
	}
	for _, again := range []func(){func() {}, func() { b = s.logon(app) }, func() { s.reload(); b = s.logon(app) }} {
		again()
		b.write(downstreamLine(8, "a2", ""))
		b.want(`{"message_type":"ACK","sequence_id":8,"message_id":"a2"}`)
	}
	b.write(`{"message_type":"DOWNSTREAM","sequence_id":9,"fcm_data":{"to":"ann","data":{"a":"1","b":"2"}}}`, `{"fcm_data":{"data":{"b":"2", "a":"1"},"to":"ann"},"sequence_id":9,"message_type":"DOWNSTREAM"}`)
	b.want(`{"message_type":"ACK","sequence_id":9,"message_id":"9"}`)
	b.want(`{"message_type":"ACK","sequence_id":9,"message_id":"9"}`)
	other := s.logon("com.example.other") // its ids are its own
	other.write(downstreamLine(8, "a2", ""))
	other.want(`{"message_type":"ACK","sequence_id":8,"message_id":"a2"}`)
	var ids []string
	for _, d := range s.Sent() {
		ids = append(ids, d.MessageID)
	}
	if want := "[com.example.bal/a1 com.example.bal/a2 com.example.bal/9 com.example.other/a2]"; fmt.Sprint(ids) != want {
		t.Errorf("stored %v, want %s", ids, want)
	}
}

// What can't be sent is acked too, and rejected with the reason; those beside it are stored.
func TestDownstreamRefused(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	b.write(downstreamLine(1, "used", ""))
	b.want(`{"message_type":"ACK","sequence_id":1,"message_id":"used"}`)
	for _, tc := range []struct{ line, says string }{
		{downstreamLine(2, "x1", `,"tiem_to_live":5`), `unknown field "tiem_to_live"`},
		{downstreamLine(2, "x2", `,"time_to_live":-5`), "options.ttl"},
		{downstreamLine(2, "x3", `,"condition":"'a' in topics"`), "to has 2 targets"},
		{downstreamLine(2, "x4", `,"data":{"n":1}`), "data.n is a number"},
		{downstreamLine(2, "used", `,"priority":"high"`), "used before for another message"},
		{`{"message_type":"DOWNSTREAM","sequence_id":2,"host_session":"none","fcm_data":{"to":"ann","message_id":"x5"}}`, `host_session is "none"`},
		{`{"message_type":"DOWNSTREAM","sequence_id":2}`, "fcm_data is not an object"},
		{downstreamLine(2, "x6", `,"collapse_key":"\ud83d"`), "surrogate"},
		{`{"message_type":"DOWNSTREAM","sequence_id":2,"fcm_data":{"to":"ann","message_id":"` + strings.Repeat("x", message.MaxID) + `"}}`, "message_id has"},
	} {
		b.write(downstreamLine(3, "good "+tc.says, ""), tc.line, downstreamLine(4, "fine "+tc.says, ""))
		acks, why := 0, ""
		for acks < 3 || why == "" {
			text, l := b.read()
			switch l.Type {
			case typeAck:
				acks++
			case typeDownstreamReject:
				why = l.Error + " " + l.ErrorDescription
				b.ack(l.SequenceID)
			default:
				t.Fatalf("%s: %q", tc.line, text)
			}
		}
		if !strings.HasPrefix(why, "INVALID ") || !strings.Contains(why, tc.says) {
			t.Errorf("%s is rejected with %q, want …%s…", tc.line, why, tc.says)
		}
	}
	if n := len(s.Sent()); n != 1+2*9 {
		t.Errorf("%d are stored", n)
	}
	s.keys("next/" + app)
}

// While the host can't store, a downstream waits, and is acked afterwards.
func TestDownstreamWaitsForTheDisk(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	s.Refuse("the disk is full")
	b.write(downstreamLine(1, "a1", ""))
	s.say("ann", 1)
	_, sequences := b.numbers(1) // the other way goes on
	s.Refuse("")
	b.want(`{"message_type":"ACK","sequence_id":1,"message_id":"a1"}`)
	b.ack(sequences...)
	s.keys("next/" + app)
}

// P4: the BAL hears once how its downstream ended; and of a device's receipt.
func TestOutcomes(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	b.write(downstreamLine(1, "a1", ""))
	b.want(`{"message_type":"ACK","sequence_id":1,"message_id":"a1"}`)
	d := s.Sent()[0]
	about := sdk.Outcome{MessageID: d.MessageID, Group: d.Group, To: d.To, Context: d.Context}
	for _, tc := range []struct {
		status     sdk.OutcomeStatus
		code, text string
		want       string
	}{
		{sdk.Acked, "", "", `{"message_type":"DOWNSTREAM_ACK","session_id":"com.example.bal","sequence_id":1,"group_id":"g","host_session":"main",` +
			`"fcm_data":{"from":"ann","message_id":"a1","message_type":"ack","registration_id":"anna"}}`},
		{sdk.Failed, "DEVICE_UNREGISTERED", "gone", `{"message_type":"DOWNSTREAM_REJECT","session_id":"com.example.bal","sequence_id":2,"group_id":"g","host_session":"main",` +
			`"error":"DEVICE_UNREGISTERED","error_description":"gone","fcm_data":{"data":{"say":"hi"},"message_id":"a1","to":"ann"}}`},
		{sdk.Expired, "", "", `{"message_type":"DOWNSTREAM_REJECT","session_id":"com.example.bal","sequence_id":3,"group_id":"g","host_session":"main",` +
			`"error":"EXPIRED","error_description":"expired after 1 attempts","fcm_data":{"data":{"say":"hi"},"message_id":"a1","to":"ann"}}`},
	} {
		o := about
		if o.Status, o.Code, o.Description = tc.status, tc.code, tc.text; o.Status == sdk.Acked {
			o.NewToken = "anna"
		}
		if r := s.Outcome(o); r.Err() != nil {
			t.Fatal(r.Err())
		}
		b.want(tc.want)
	}
	if r := s.Receipt(sdk.Receipt{OriginalMessageID: d.MessageID, Device: "ann", Category: app}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	_, l := b.read()
	if l.Type != typeDownstreamReceipt || l.SequenceID != 4 || !strings.Contains(string(l.FCMData), `"message_id":"dr2:a1","data":{"message_status":"MESSAGE_SENT_TO_DEVICE","original_message_id":"a1","device_registration_id":"ann","message_sent_timestamp":"`) {
		t.Errorf("%+v %s", l, l.FCMData)
	}
	b.ack(1, 2, 3, 4)
	s.keys("next/" + app)
	for _, r := range []plugintest.Result{s.Outcome(sdk.Outcome{MessageID: "x"}), s.Receipt(sdk.Receipt{OriginalMessageID: "x"})} {
		if r.Status != plugintest.Rejected {
			t.Errorf("what is not from here: %v %s", r.Status, r.Reason)
		}
	}
}

// A host with several sessions has to be told by which one a downstream goes.
func TestHostSession(t *testing.T) {
	for _, tc := range []struct {
		config, named string
		goes, says    string
	}{
		{"", "phones", "phones", ""},
		{"phones", "", "phones", ""},
		{"phones", "main", "main", ""},
		{"", "", "", "name one in host_session"},
	} {
		s := newStage(t, map[string]any{"session": tc.config})
		b := s.logon(app)
		b.write(fmt.Sprintf(`{"message_type":"DOWNSTREAM","host_session":%q,"fcm_data":{"to":"ann","message_id":"a"}}`, tc.named))
		if tc.says != "" {
			if why := b.refused(); !strings.Contains(why, tc.says) {
				t.Errorf("%+v: %s", tc, why)
			}
			continue
		}
		b.want(`{"message_type":"ACK","message_id":"a"}`)
		if got := s.Sent()[0].Session; got != tc.goes {
			t.Errorf("%+v: it goes by %q", tc, got)
		}
	}
}

// Many large ones in one commit are not taken for ones that are too large.
func TestManyLargeDownstreams(t *testing.T) {
	s := newStage(t, nil)
	b := s.logon(app)
	var lines []string
	for n := range 200 {
		lines = append(lines, downstreamLine(n+1, fmt.Sprint("large ", n), `,"notification":{"title":"`+strings.Repeat("<", 4000)+`"}`))
	}
	go b.write(lines...)
	for n := range 200 {
		b.want(fmt.Sprintf(`{"message_type":"ACK","sequence_id":%d,"message_id":"large %d"}`, n+1, n))
	}
	if n := len(s.Sent()); n != 200 {
		t.Errorf("%d are stored", n)
	}
	b.write(downstreamLine(1, "bytes", `,"notification":{"title":"`+"\xff"+`"}`)) // not UTF-8
	if why := b.refused(); !strings.Contains(why, "UTF-8") {
		t.Error(why)
	}
}
