package main

import (
	"strings"
	"testing"

	"balhost/sdk/plugintest"
)

// The newest connection of a session id wins, as in GIMMM. The old one hears why it ends, and
// what it had not acked goes to the new one.
func TestTheNewestWins(t *testing.T) {
	s := newStage(t, nil)
	old := s.logon(app)
	s.say("ann", 1)
	s.say("ann", 2)
	_, sequences := old.numbers(2)
	old.ack(sequences[0])
	s.keys("next/"+app, "out/"+app+"/0000000000000002")
	b := s.logon(app)
	if said, _ := b.numbers(1); said[0] != "2" {
		t.Errorf("the new one gets %q", said)
	}
	if why := old.ended(); !strings.Contains(why, "another connection has logged on") {
		t.Errorf("the old one hears %q", why)
	}
	for range 20 { // all at once
		b = s.logon(app)
	}
	if said, sequences := b.numbers(1); said[0] != "2" || sequences[0] != 2 {
		t.Errorf("the last one gets %q as %d", said, sequences)
	}
	b.ack(2)
	s.keys("next/" + app)
}

// Who does not log on as the config says is told so, and cut off.
func TestLogonRefused(t *testing.T) {
	const token = "0123456789abcdef"
	s := newStage(t, map[string]any{"sessions": map[string]string{app: token, "com.example.free": ""}})
	for _, tc := range []struct{ line, says string }{
		{`{"message_type":"LOGON","session_id":"com.example.bal"}`, "session id or its token"},
		{`{"message_type":"LOGON","session_id":"com.example.bal","token":"0123456789abcdeF"}`, "session id or its token"},
		{`{"message_type":"LOGON","session_id":"com.example.free","token":"x"}`, "session id or its token"},
		{`{"message_type":"LOGON","session_id":"com.example.more"}`, "session id or its token"},
		{`{"message_type":"LOGON","session_id":"a/b"}`, "session id"},
		{`{"message_type":"LOGON"}`, "session id"},
		{`{"message_type":"ACK","sequence_id":1}`, "not a LOGON"},
		{`{}`, "no message_type"},
		{`GET / HTTP/1.1`, "not one JSON object"},
		{`{"message_type":7}`, "message_type is of type number"},
		{strings.Repeat("x", maxLine+1), "more than 49152 bytes"},
	} {
		b := s.dial()
		b.write(tc.line)
		if why := b.ended(); !strings.Contains(why, tc.says) {
			t.Errorf("%.60s: it is told %q, want …%s…", tc.line, why, tc.says)
		}
	}
	b := s.dial()
	b.write(`{"message_type":"LOGON","session_id":"com.example.bal","token":"` + token + `"}`)
	b.want(`{"message_type":"LOGON_RESPONSE","session_id":"com.example.bal","status":"SUCCESS"}`)
	s.logon("com.example.free")
}

// A BAL that breaks the protocol hears what is wrong. What it wrote before counts.
func TestWrongLines(t *testing.T) {
	s := newStage(t, nil)
	for _, tc := range []struct{ line, says string }{
		{`{"message_type":"UPSTREAM"}`, "a BAL sends ACK and DOWNSTREAM"},
		{`{"message_type":"ACK"}`, "no sequence_id above 0"},
		{`{"message_type":"ACK","sequence_id":"1"}`, "sequence_id is of type string"},
		{`{"message_type":"ACK","sequence_id":1.5}`, "sequence_id is of type number 1.5"},
		{`{"message_type":"DOWNSTREAM","fcm_data":{"to":"ann"}}`, "neither fcm_data.message_id nor a sequence_id"},
		{`[1]`, "not one JSON object"},
	} {
		b := s.logon(app)
		b.write("", downstreamLine(1, "before "+tc.says, ""), "\t", tc.line)
		b.want(`{"message_type":"ACK","sequence_id":1,"message_id":"before ` + tc.says + `"}`)
		if why := b.ended(); !strings.Contains(why, tc.says) {
			t.Errorf("%s: it is told %q, want …%s…", tc.line, why, tc.says)
		}
	}
}

func TestBadConfig(t *testing.T) {
	long := strings.Repeat("t", minToken)
	for want, c := range map[string]map[string]any{
		"write it like 127.0.0.1:5001":       {"listen": "5001"},
		"hold is 0":                          {"hold": 0},
		`the host has only ["main"]`:         {"session": "de"},
		"the token of com.example.bal has 3": {"sessions": map[string]string{app: "abc"}},
		`the session id "a/b"`:               {"sessions": map[string]string{"a/b": long}},
		"cert and key are not":               {"tls": map[string]string{"cert": "x", "key": "y"}},
		"set tls":                            {"listen": ":0", "sessions": map[string]string{app: long}},
		`no key "port"`:                      {"port": 1},
	} {
		if err := plugintest.Refusal(t, newBridge().plugin(), plugintest.Options{Config: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want …%s…", c, err, want)
		}
	}
}
