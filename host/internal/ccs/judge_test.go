package ccs

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"balhost/host/internal/flow"
	"balhost/host/internal/xmpp"
)

// nackVerdicts are what each code means: every row of ccs-protocol.md §4.1.
var nackVerdicts = map[string]flow.Verdict{
	"INVALID_JSON": flow.Fail, "BAD_REGISTRATION": flow.Fail, "DEVICE_UNREGISTERED": flow.Fail, "SENDER_ID_MISMATCH": flow.Fail, "BAD_ACK": flow.Fail,
	"SERVICE_UNAVAILABLE": flow.Retry, "INTERNAL_SERVER_ERROR": flow.Retry,
	"DEVICE_MESSAGE_RATE_EXCEEDED": flow.SlowDown, "TOPICS_MESSAGE_RATE_EXCEEDED": flow.SlowDown, "QUOTA_EXCEEDED": flow.SlowDown,
	"CONNECTION_DRAINING": flow.Resend, "INVALID_APNS_CREDENTIAL": flow.Fail, "AUTHENTICATION_FAILED": flow.Halt,
	"INVALID_TTL": flow.Fail, "JSON_TYPE_ERROR": flow.Fail, "InvalidJson": flow.Fail,
	"": flow.Retry, "SOMETHING_NEW": flow.Retry, "internal_server_error": flow.Retry,
}

func TestJudgeNack(t *testing.T) {
	for code, want := range nackVerdicts {
		for _, attempts := range []int{1, 14, 15, 1000} {
			got, last := judgeNack(code).After(attempts, 15), want
			if attempts >= 15 && (want == flow.Retry || want == flow.SlowDown) {
				last = flow.Fail
			}
			if got != last {
				t.Errorf("judgeNack(%q).After(%d, 15) = %v, want %v", code, attempts, got, last)
			}
			if got := judgeNack(code).After(attempts, 0); got != want {
				t.Errorf("judgeNack(%q).After(%d, 0) = %v, want %v", code, attempts, got, want)
			}
		}
	}
}

// Every code in the table of the document is known here.
func TestVerdictsAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("ccs-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "### 4.1 Nack codes")
	table, _, _ = strings.Cut(table, "### 4.2")
	codes := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(table, -1) {
		for _, code := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(row[1], -1) {
			codes++
			if nackVerdicts[code[1]] == 0 {
				t.Errorf("no verdict on %s", code[1])
			}
		}
	}
	if codes != 15 {
		t.Errorf("%d codes in the document's table, want 15", codes)
	}
}

// What the outbox hears of an answer.
func TestJudged(t *testing.T) {
	rejected := &xmpp.StanzaError{Type: "modify", Condition: "bad-request"}
	for name, c := range map[string]struct {
		answer answer
		want   flow.Answer
	}{
		"ack":       {answer{id: "d-1"}, flow.Answer{Verdict: flow.Acked}},
		"new token": {answer{token: "new"}, flow.Answer{Verdict: flow.Acked, NewToken: "new"}},
		"removed": {answer{nack: true, code: "DEVICE_UNREGISTERED", description: "why"},
			flow.Answer{Verdict: flow.Fail, Code: "DEVICE_UNREGISTERED", Description: "why", Gone: true}},
		"never was": {answer{nack: true, code: "BAD_REGISTRATION"}, flow.Answer{Verdict: flow.Fail, Code: "BAD_REGISTRATION", Gone: true}},
		"of another sender": {answer{nack: true, code: "SENDER_ID_MISMATCH"},
			flow.Answer{Verdict: flow.Fail, Code: "SENDER_ID_MISMATCH"}},
		"stanza": {answer{rejection: rejected}, flow.Answer{Verdict: flow.Fail, Code: CodeStanza, Description: rejected.Error()}},
	} {
		if got := c.answer.judged(); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
