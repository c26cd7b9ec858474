package flow

import (
	"strings"
	"time"
)

// Verdict says what to do with a downstream after its answer, or when it was left
// unanswered.
type Verdict uint8

// The verdicts. Retry and SlowDown count an attempt, the others do not.
const (
	Retry    Verdict = iota + 1 // send it again after a backoff of 1 s or more
	Resend                      // send it again at once, on another connection: this one drains, or has ended
	Isolate                     // as Resend, but with nothing beside it: it may be what ended the connection
	Hold                        // as Isolate, after a wait that grows: nothing shows whether it is the message
	SlowDown                    // send nothing to this token or topic for minutes, then go on
	Fail                        // it never works: record the outcome
	Halt                        // the sender's account is at fault: stop sending, and tell a person
	Rest                        // the sender is sent too much: send nothing for it for some time, then go on
	Acked                       // the peer took it: record the outcome
)

// String is the verdict in lower case.
func (v Verdict) String() string {
	return [...]string{"unknown", "retry", "resend", "isolate", "hold", "slow down", "fail", "halt", "rest", "acked"}[v]
}

// After is the verdict on a downstream that has been tried so often, this time
// included: at limit attempts (0: no limit) one that could be tried again fails.
func (v Verdict) After(attempts, limit int) Verdict {
	if (v == Retry || v == SlowDown) && limit > 0 && attempts >= limit {
		return Fail
	}
	return v
}

// Judge says what a nack's code means. An unknown code is treated as
// INTERNAL_SERVER_ERROR. The table is that of ccs-protocol.md §4.1.
func Judge(code string) Verdict {
	switch code {
	case "CONNECTION_DRAINING":
		return Resend
	case "DEVICE_MESSAGE_RATE_EXCEEDED", "TOPICS_MESSAGE_RATE_EXCEEDED", "QUOTA_EXCEEDED":
		return SlowDown
	case "AUTHENTICATION_FAILED":
		return Halt
	case "BAD_REGISTRATION", "DEVICE_UNREGISTERED", "SENDER_ID_MISMATCH", "BAD_ACK",
		"INVALID_JSON", "INVALID_TTL", "JSON_TYPE_ERROR", "INVALID_APNS_CREDENTIAL":
		return Fail
	}
	if strings.EqualFold(code, "InvalidJson") { // the spelling of 2013, see ccs-protocol.md §4
		return Fail
	}
	return Retry // SERVICE_UNAVAILABLE, INTERNAL_SERVER_ERROR
}

// Expired reports whether a downstream's time is over; without expires it never is.
// TTLs are whole seconds, and the last second passes first: a TTL of 0, "now or
// never", leaves one second to send the downstream.
func Expired(now, expires time.Time) bool {
	return !expires.IsZero() && now.Sub(expires) >= time.Second
}

// Remaining is the TTL to send at this moment, in whole seconds rounded down;
// nil for a zero expires.
func Remaining(now, expires time.Time) *time.Duration {
	if expires.IsZero() {
		return nil
	}
	d := max(0, expires.Sub(now)).Truncate(time.Second)
	return &d
}
