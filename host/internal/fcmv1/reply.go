package fcmv1

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/plain"
)

// maxBody is how much of an answer is read.
const maxBody = 64 << 10

// Codes that FCM and Google's APIs give. Spec: fcm-v1-and-gateway.md A4.
const (
	unregistered = "UNREGISTERED"
	rateLimit    = "RATE_LIMIT_EXCEEDED"
)

// reply is an error as FCM tells it. Each field may be empty.
type reply struct {
	whole        bool   // the body is JSON
	status       string // of Google's APIs: NOT_FOUND
	message      string
	fcm          string // FcmError's errorCode
	reason       string // ErrorInfo's
	projectQuota bool   // and its quota is the project's
	violations   []string
	apns         string        // ApnsError's status and reason
	delay        time.Duration // RetryInfo's
}

// detail has the fields of all types of detail. Spec: fcm-v1-and-gateway.md A4.
type detail struct {
	Type            string            `json:"@type"`
	ErrorCode       string            `json:"errorCode"`
	StatusCode      json.Number       `json:"statusCode"`
	Reason          string            `json:"reason"`
	Metadata        map[string]string `json:"metadata"`
	FieldViolations []struct {
		Field       string `json:"field"`
		Description string `json:"description"`
	} `json:"fieldViolations"`
	RetryDelay string `json:"retryDelay"`
}

// parse reads what it can of an answer. What is missing, unknown or of another type
// than expected stays empty.
func parse(body []byte) *reply {
	var top struct {
		Error json.RawMessage `json:"error"`
	}
	var e struct {
		Status  string            `json:"status"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	r := &reply{whole: json.Unmarshal(body, &top) == nil}
	if json.Unmarshal(top.Error, &e) != nil && e.Details == nil {
		return r
	}
	r.status, r.message = code(e.Status), e.Message
	for _, raw := range e.Details {
		var d detail
		if json.Unmarshal(raw, &d) != nil && d.Type == "" {
			continue
		}
		r.take(d)
	}
	return r
}

// take takes one detail over; the first of a type counts.
func (r *reply) take(d detail) {
	switch d.Type[strings.LastIndexByte(d.Type, '/')+1:] {
	case "google.firebase.fcm.v1.FcmError":
		if r.fcm == "" {
			r.fcm = code(d.ErrorCode)
		}
	case "google.firebase.fcm.v1.ApnsError":
		r.apns = strings.TrimSpace(d.StatusCode.String() + " " + d.Reason)
	case "google.rpc.BadRequest":
		for _, v := range d.FieldViolations {
			r.violations = append(r.violations, v.Field+": "+v.Description)
		}
	case "google.rpc.ErrorInfo":
		if r.reason == "" {
			r.reason = code(d.Reason)
			r.projectQuota = strings.HasSuffix(d.Metadata["quota_limit"], "PerProject")
		}
	case "google.rpc.RetryInfo":
		if wait, err := time.ParseDuration(d.RetryDelay); err == nil {
			r.delay = wait
		}
	}
}

// code is s if it can be a code of Google's: a short word.
func code(s string) string {
	const enough = 64
	if len(s) > enough || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return ""
	}
	return s
}

// description says what FCM said: which field, what Apple answered, and the message.
func (r *reply) description(status int) string {
	var parts []string
	for i, v := range r.violations {
		if i == 5 {
			parts = append(parts, "and "+strconv.Itoa(len(r.violations)-i)+" more")
			break
		}
		parts = append(parts, plain.Clip(v, 200))
	}
	if r.apns != "" {
		parts = append(parts, "APNs answered "+plain.Clip(r.apns, 100))
	}
	if r.message != "" {
		parts = append(parts, r.message)
	}
	if len(parts) == 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(status)+" "+http.StatusText(status)+" without details")
	}
	return text(strings.Join(parts, "; "))
}

// text is what a peer said as one line of bounded length.
func text(s string) string {
	const enough = 500
	return plain.Line(s, enough)
}

// named reports whether an accepted message's answer is as FCM writes it. That of a
// device group is an empty object. Spec: fcm-v1-and-gateway.md A2, A4.
func named(body []byte) bool {
	var a struct {
		Name string `json:"name"`
	}
	return json.Unmarshal(body, &a) == nil && (a.Name != "" || string(bytes.TrimSpace(body)) == "{}")
}

// longestWait is the most that a Retry-After is obeyed.
const longestWait = time.Hour

// retryAfter is how long the peer asks us to wait; 0: it does not say. Its header is
// a number of seconds or a date. A date that has passed, a negative number and
// anything else count as absent. delay is what the body asks for.
// Spec: fcm-v1-and-gateway.md A5.
func retryAfter(h http.Header, delay time.Duration, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	wait := delay
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil || isRange(err) {
		wait = time.Duration(min(seconds, uint64(longestWait/time.Second))) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), longestWait)
}

// isRange reports whether a number was too large for its type.
func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }
