package fcmv1

import (
	"net/http"
	"strconv"
	"time"

	"balhost/host/internal/flow"
)

// exchange is how one request to FCM went.
type exchange struct {
	err    error // why there is no answer; nil: status and header are set
	sent   bool  // something of the request was written, so without an answer FCM may have acted on it
	status int
	header http.Header
	body   []byte // at most maxBody
	cut    bool   // the body ended too early
}

// judgement is what an exchange means for the downstream, and what it says of the session.
type judgement struct {
	flow.Answer
	sign sign
	odd  bool // accepted, but the answer is not as FCM writes it
}

// sign is what an answer says beyond its downstream.
type sign uint8

const (
	nothing     sign = iota
	unsent           // no request got out: the network, the name, TLS
	ambiguous        // a request got out and no answer came: FCM may have taken the downstream
	badToken         // FCM does not take our access token
	badAccount       // the project, its APIs or its permissions
	badKey           // Apple's or the browsers' key in the Firebase console
	stranger         // the target belongs to another project
	quota            // the project sends too much
	targetRate       // one target is sent too much
	trouble          // FCM's own
	redirected       // something between us and FCM
	unsupported      // FCM was not asked
)

// serves reports whether FCM has served the account, whatever it thinks of the downstream.
func (s sign) serves() bool {
	return s == nothing || s == badKey || s == stranger || s == quota || s == targetRate
}

// Waits of FCM's rules. Spec: fcm-v1-and-gateway.md A5.
const (
	leastRetry = 10 * time.Second
	leastRest  = time.Minute
)

// Codes of outcomes where FCM gives none.
const (
	CodeNoAnswer    = "NO_ANSWER"   // the last attempt was sent, and no answer came
	CodeUnsupported = "UNSUPPORTED" // FCM's HTTP v1 can't carry the message; it was not sent
	codeUnsent      = "NOT_SENT"
)

// judge says what e means; now is the time at which a Retry-After is read. The
// verdict hangs on the details of an error and on the HTTP status, never on a text:
// an answer that can't be parsed is judged by its status alone.
// Spec: fcm-v1-and-gateway.md A6; the cases below stand in its order.
func judge(e exchange, now time.Time) judgement {
	switch {
	case e.err != nil && !e.sent:
		return judgement{flow.Answer{Verdict: flow.Resend, Code: codeUnsent, Description: text(e.err.Error())}, unsent, false}
	case e.err != nil:
		return judgement{flow.Answer{Verdict: flow.Retry, Code: CodeNoAnswer, Description: text(e.err.Error()), RetryAfter: leastRetry}, ambiguous, false}
	case e.status >= 200 && e.status < 300:
		return judgement{flow.Answer{Verdict: flow.Acked}, nothing, !named(e.body)}
	}
	r := parse(e.body)
	verdict, s := r.judge(e.status)
	if e.cut && e.status < 500 && !r.whole { // the details that tell a message's fault from the account's are missing
		verdict, s = flow.Retry, trouble
	}
	a := flow.Answer{Verdict: verdict, Code: r.code(e.status), Description: r.description(e.status)}
	after := retryAfter(e.header, r.delay, now)
	switch verdict {
	case flow.Retry:
		a.RetryAfter = max(after, leastRetry)
	case flow.SlowDown:
		a.RetryAfter = max(after, leastRest)
	case flow.Rest:
		if a.RetryAfter = after; after == 0 {
			a.RetryAfter = leastRest
		}
	case flow.Fail:
		a.Gone = r.fcm == unregistered
	}
	return judgement{a, s, false}
}

// judge is the verdict on an error.
func (r *reply) judge(status int) (flow.Verdict, sign) {
	if status >= 500 || status == http.StatusRequestTimeout || status == http.StatusConflict {
		return flow.Retry, trouble
	}
	if status < 400 {
		return flow.Retry, redirected
	}
	if r.reason == rateLimit && (r.fcm == "" || r.projectQuota) {
		return flow.Rest, quota
	}
	switch r.fcm {
	case unregistered, "INVALID_ARGUMENT":
		return flow.Fail, nothing
	case "SENDER_ID_MISMATCH":
		return flow.Fail, stranger
	case "THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR":
		return flow.Fail, badKey
	case "QUOTA_EXCEEDED":
		return flow.SlowDown, targetRate
	case "INTERNAL", "UNAVAILABLE":
		return flow.Retry, trouble
	}
	switch {
	case status == http.StatusNotFound && r.fcm == "": // one wrong letter in the config must not empty every table of tokens
		return flow.Halt, badAccount
	case status == http.StatusForbidden:
		return flow.Halt, badAccount
	case status == http.StatusUnauthorized: // once: the session sends it again with a new token, see [Session.post]
		return flow.Halt, badToken
	case status == http.StatusTooManyRequests:
		return flow.Rest, quota
	}
	return flow.Fail, nothing
}

// code is the outcome's: FCM's own, or else the closest thing to it.
func (r *reply) code(status int) string {
	for _, code := range []string{r.fcm, r.reason, r.status} {
		if code != "" {
			return code
		}
	}
	return "HTTP_" + strconv.Itoa(status)
}
