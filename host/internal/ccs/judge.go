package ccs

import (
	"strings"

	"balhost/host/internal/flow"
)

// Codes of outcomes that CCS has no code of its own for.
const (
	CodeStanza         = "STANZA_ERROR"    // CCS refused the stanza, not the message in it; or no stanza can carry it
	CodeUnsupported    = "UNSUPPORTED"     // CCS can't carry the message; it was not sent
	CodeStreamError    = "STREAM_ERROR"    // CCS ends each stream that carries this message, and takes others
	CodeConnectionLost = "CONNECTION_LOST" // each connection ends before CCS answers this message, and others get through
)

// judged is the answer as the outbox understands it. Two codes say that a token
// leads nowhere any more: its app was removed, or it never was a token.
func (a answer) judged() flow.Answer {
	switch {
	case a.rejection != nil:
		return flow.Answer{Verdict: judgeStanza(a.rejection.Type, a.rejection.Condition), Code: CodeStanza, Description: a.rejection.Error()}
	case a.nack:
		return flow.Answer{
			Verdict: judgeNack(a.code), Code: a.code, Description: a.description, Gone: a.code == "DEVICE_UNREGISTERED" || a.code == "BAD_REGISTRATION",
		}
	}
	return flow.Answer{Verdict: flow.Acked, NewToken: a.token}
}

// lossCode is the code of an outcome when connections end so, again and again, over
// one message.
func lossCode(f flow.Fault) string {
	if f == flow.Bytes || f == flow.Policy {
		return CodeStreamError
	}
	return CodeConnectionLost
}

// judgeNack says what a nack's code means. An unknown code is treated as
// INTERNAL_SERVER_ERROR. The table is that of ccs-protocol.md §4.1.
func judgeNack(code string) flow.Verdict {
	switch code {
	case "CONNECTION_DRAINING":
		return flow.Resend
	case "DEVICE_MESSAGE_RATE_EXCEEDED", "TOPICS_MESSAGE_RATE_EXCEEDED", "QUOTA_EXCEEDED":
		return flow.SlowDown
	case "AUTHENTICATION_FAILED":
		return flow.Halt
	case "BAD_REGISTRATION", "DEVICE_UNREGISTERED", "SENDER_ID_MISMATCH", "BAD_ACK",
		"INVALID_JSON", "INVALID_TTL", "JSON_TYPE_ERROR", "INVALID_APNS_CREDENTIAL":
		return flow.Fail
	}
	if strings.EqualFold(code, "InvalidJson") { // the spelling of 2013, see ccs-protocol.md §4
		return flow.Fail
	}
	return flow.Retry // SERVICE_UNAVAILABLE, INTERNAL_SERVER_ERROR
}
