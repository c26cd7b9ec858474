package fcmv1

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/flow"
)

var t0 = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// fail is an error as FCM writes it; details are the fields after @type's prefix.
func fail(status, message string, details ...string) string {
	body := `{"error":{"code":400,"message":"` + message + `","status":"` + status + `"`
	if len(details) > 0 {
		body += `,"details":[{"@type":"type.googleapis.com/` + strings.Join(details, `},{"@type":"type.googleapis.com/`) + `}]`
	}
	return body + `}}`
}

func fcmError(code string) string {
	return `google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"`
}

const (
	badRequest = `google.rpc.BadRequest","fieldViolations":[{"field":"message.data[0].value","description":"Invalid value at 'message.data[0].value' (TYPE_STRING), 17"}]`
	apnsGone   = `google.firebase.fcm.v1.ApnsError","statusCode":410,"reason":"Unregistered"`
	apnsKey    = `google.firebase.fcm.v1.ApnsError","statusCode":403,"reason":"InvalidProviderToken"`
	iam        = `google.rpc.ErrorInfo","reason":"IAM_PERMISSION_DENIED","domain":"iam.googleapis.com","metadata":{"permission":"cloudmessaging.messages.create","resource":"projects/482915730064"}`
	disabled   = `google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com","metadata":{"service":"fcm.googleapis.com"}`
	expired    = `google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_EXPIRED","domain":"googleapis.com","metadata":{"service":"fcm.googleapis.com"}`
	perProject = `google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com","metadata":{"quota_limit":"SendsPerMinutePerProject","quota_limit_value":"600000","consumer":"projects/482915730064"}`
	perDevice  = `google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com","metadata":{"quota_limit":"SendsPerMinutePerDevice"}`
	violation  = `google.rpc.QuotaFailure","violations":[{"subject":"topic:news","description":"Topic quota exceeded."}]`
	grease     = `example.com/Unknown","errorCode":"UNREGISTERED","reason":{"deep":[1,2]},"statusCode":[]`
	help       = `google.rpc.Help","links":[{"description":"x","url":"https://example.com"}]`
	html       = "<!DOCTYPE html>\n<html lang=en><title>Error (Not Found)!!1</title><p>That’s an error.</html>"
)

// Every row of A6, by its body, first row that fits. Sheet G 3, 4, 7, 8, 9, 11.
func TestJudge(t *testing.T) {
	const ra = leastRetry
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   flow.Answer // without the description
		sign   sign
		says   string // in the description
	}{
		{"accepted", 200, `{"name":"projects/482915730064/messages/0:1612788010922733%7606eb247606eb24"}`, flow.Answer{Verdict: flow.Acked}, nothing, ""},
		{"accepted, any 2xx", 204, ``, flow.Answer{Verdict: flow.Acked}, nothing, ""},

		{"404 of an install that is gone", 404, fail("NOT_FOUND", "Requested entity was not found.", fcmError("UNREGISTERED")), flow.Answer{Verdict: flow.Fail, Code: "UNREGISTERED", Gone: true}, nothing, "Requested entity"},
		{"the same, of Apple", 404, fail("NOT_FOUND", "x", apnsGone, fcmError("UNREGISTERED")), flow.Answer{Verdict: flow.Fail, Code: "UNREGISTERED", Gone: true}, nothing, "APNs answered 410 Unregistered"},
		{"404 of a wrong project", 404, fail("NOT_FOUND", "Requested entity was not found."), flow.Answer{Verdict: flow.Halt, Code: "NOT_FOUND"}, badAccount, "Requested entity"},
		{"404 of a wrong path", 404, html, flow.Answer{Verdict: flow.Halt, Code: "HTTP_404"}, badAccount, "HTTP 404 Not Found"},
		{"404 with Apple's words alone", 404, fail("NOT_FOUND", "x", apnsGone), flow.Answer{Verdict: flow.Halt, Code: "NOT_FOUND"}, badAccount, "410"},
		{"404 with an unknown code", 404, fail("NOT_FOUND", "x", fcmError("SOMETHING_NEW")), flow.Answer{Verdict: flow.Fail, Code: "SOMETHING_NEW"}, nothing, ""},
		{"UNREGISTERED in the text alone", 404, fail("NOT_FOUND", "UNREGISTERED"), flow.Answer{Verdict: flow.Halt, Code: "NOT_FOUND"}, badAccount, ""},
		{"UNREGISTERED in a detail of another type", 400, fail("INVALID_ARGUMENT", "x", grease), flow.Answer{Verdict: flow.Fail, Code: "INVALID_ARGUMENT"}, nothing, ""},

		{"400 of a field", 400, fail("INVALID_ARGUMENT", "Invalid value", badRequest), flow.Answer{Verdict: flow.Fail, Code: "INVALID_ARGUMENT"}, nothing, "message.data[0].value: Invalid value at"},
		{"400 of a field, with FcmError", 400, fail("INVALID_ARGUMENT", "Invalid value", fcmError("INVALID_ARGUMENT"), badRequest), flow.Answer{Verdict: flow.Fail, Code: "INVALID_ARGUMENT"}, nothing, "message.data[0].value"},
		{"400 of a token or a size", 400, fail("INVALID_ARGUMENT", "Android message is too big", fcmError("INVALID_ARGUMENT")), flow.Answer{Verdict: flow.Fail, Code: "INVALID_ARGUMENT"}, nothing, "too big"},
		{"400 with an unknown code", 400, fail("INVALID_ARGUMENT", "x", fcmError("UNSPECIFIED_ERROR")), flow.Answer{Verdict: flow.Fail, Code: "UNSPECIFIED_ERROR"}, nothing, ""},

		{"403 of another project's token", 403, fail("PERMISSION_DENIED", "SenderId mismatch", fcmError("SENDER_ID_MISMATCH")), flow.Answer{Verdict: flow.Fail, Code: "SENDER_ID_MISMATCH"}, stranger, "SenderId mismatch"},
		{"403 of a permission", 403, fail("PERMISSION_DENIED", "Permission denied", iam), flow.Answer{Verdict: flow.Halt, Code: "IAM_PERMISSION_DENIED"}, badAccount, "Permission denied"},
		{"403 of an API that is off", 403, fail("PERMISSION_DENIED", "FCM API has not been used in project 1 before or it is disabled.", help, disabled), flow.Answer{Verdict: flow.Halt, Code: "SERVICE_DISABLED"}, badAccount, "has not been used"},
		{"403 HTML", 403, html, flow.Answer{Verdict: flow.Halt, Code: "HTTP_403"}, badAccount, "HTTP 403"},
		{"403 with an unknown code", 403, fail("PERMISSION_DENIED", "x", fcmError("SOMETHING_NEW")), flow.Answer{Verdict: flow.Halt, Code: "SOMETHING_NEW"}, badAccount, ""},

		{"401 of Apple's key", 401, fail("UNAUTHENTICATED", "Request is missing required authentication credential. Expected OAuth 2 access token", apnsKey, fcmError("THIRD_PARTY_AUTH_ERROR")), flow.Answer{Verdict: flow.Fail, Code: "THIRD_PARTY_AUTH_ERROR"}, badKey, "403 InvalidProviderToken"},
		{"the same, in 2018", 401, fail("UNAUTHENTICATED", "x", fcmError("APNS_AUTH_ERROR")), flow.Answer{Verdict: flow.Fail, Code: "APNS_AUTH_ERROR"}, badKey, ""},
		{"401 of our token", 401, fail("UNAUTHENTICATED", "Request had invalid authentication credentials.", expired), flow.Answer{Verdict: flow.Halt, Code: "ACCESS_TOKEN_EXPIRED"}, badToken, ""},
		{"401 without details", 401, fail("UNAUTHENTICATED", "x"), flow.Answer{Verdict: flow.Halt, Code: "UNAUTHENTICATED"}, badToken, ""},
		{"401 HTML", 401, html, flow.Answer{Verdict: flow.Halt, Code: "HTTP_401"}, badToken, ""},

		{"429 of the project", 429, fail("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric", perProject), flow.Answer{Verdict: flow.Rest, Code: "RATE_LIMIT_EXCEEDED", RetryAfter: leastRest}, quota, "Quota exceeded"},
		{"the same, with FcmError", 429, fail("RESOURCE_EXHAUSTED", "x", fcmError("QUOTA_EXCEEDED"), perProject), flow.Answer{Verdict: flow.Rest, Code: "QUOTA_EXCEEDED", RetryAfter: leastRest}, quota, ""},
		{"429 of a topic", 429, fail("RESOURCE_EXHAUSTED", "Topic quota exceeded.", violation, fcmError("QUOTA_EXCEEDED")), flow.Answer{Verdict: flow.SlowDown, Code: "QUOTA_EXCEEDED", RetryAfter: leastRest}, targetRate, "Topic quota"},
		{"429 of a device", 429, fail("RESOURCE_EXHAUSTED", "x", fcmError("QUOTA_EXCEEDED"), perDevice), flow.Answer{Verdict: flow.SlowDown, Code: "QUOTA_EXCEEDED", RetryAfter: leastRest}, targetRate, ""},
		{"429 of neither", 429, fail("RESOURCE_EXHAUSTED", "x"), flow.Answer{Verdict: flow.Rest, Code: "RESOURCE_EXHAUSTED", RetryAfter: leastRest}, quota, ""},
		{"429 HTML", 429, html, flow.Answer{Verdict: flow.Rest, Code: "HTTP_429", RetryAfter: leastRest}, quota, ""},

		{"500", 500, fail("INTERNAL", "Internal error encountered.", fcmError("INTERNAL")), flow.Answer{Verdict: flow.Retry, Code: "INTERNAL", RetryAfter: ra}, trouble, "Internal error"},
		{"503", 503, fail("UNAVAILABLE", "The service is currently unavailable.", fcmError("UNAVAILABLE")), flow.Answer{Verdict: flow.Retry, Code: "UNAVAILABLE", RetryAfter: ra}, trouble, ""},
		{"500 that speaks of UNREGISTERED", 500, fail("INTERNAL", "x", fcmError("UNREGISTERED")), flow.Answer{Verdict: flow.Retry, Code: "UNREGISTERED", RetryAfter: ra}, trouble, ""},
		{"502 HTML", 502, html, flow.Answer{Verdict: flow.Retry, Code: "HTTP_502", RetryAfter: ra}, trouble, "HTTP 502 Bad Gateway"},
		{"504", 504, ``, flow.Answer{Verdict: flow.Retry, Code: "HTTP_504", RetryAfter: ra}, trouble, ""},
		{"599", 599, ``, flow.Answer{Verdict: flow.Retry, Code: "HTTP_599", RetryAfter: ra}, trouble, ""},
		{"408", 408, ``, flow.Answer{Verdict: flow.Retry, Code: "HTTP_408", RetryAfter: ra}, trouble, ""},
		{"409", 409, fail("ABORTED", "x"), flow.Answer{Verdict: flow.Retry, Code: "ABORTED", RetryAfter: ra}, trouble, ""},
		{"400 that says UNAVAILABLE", 400, fail("x", "x", fcmError("UNAVAILABLE")), flow.Answer{Verdict: flow.Retry, Code: "UNAVAILABLE", RetryAfter: ra}, trouble, ""},

		{"302", 302, html, flow.Answer{Verdict: flow.Retry, Code: "HTTP_302", RetryAfter: ra}, redirected, ""},
		{"413", 413, html, flow.Answer{Verdict: flow.Fail, Code: "HTTP_413"}, nothing, ""},
		{"418", 418, `[]`, flow.Answer{Verdict: flow.Fail, Code: "HTTP_418"}, nothing, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, body := range map[string]string{"as it is": c.body, "greased": greased(c.body)} {
				got := judge(exchange{sent: true, status: c.status, header: http.Header{}, body: []byte(body)}, t0)
				if !strings.Contains(got.Description, c.says) {
					t.Errorf("%s: says %q, want %q in it", name, got.Description, c.says)
				}
				got.Description = ""
				if got.Answer != c.want || got.sign != c.sign {
					t.Errorf("%s: got %+v, %d; want %+v, %d", name, got.Answer, got.sign, c.want, c.sign)
				}
			}
		})
	}
}

// greased is a body with details and fields that nobody knows, and odd types.
func greased(body string) string {
	body = strings.Replace(body, `"details":[`, `"details":[null,7,{"@type":9},{"@type":"type.googleapis.com/`+grease+`},`, 1)
	return strings.Replace(body, `{"error":{`, `{"new":[{}],"error":{"more":{"a":null},`, 1)
}

// HTML, nothing, a half, and much of anything are judged by the status alone. Sheet G 7.
func TestJudgeByStatusAlone(t *testing.T) {
	for status, want := range map[int]flow.Verdict{
		200: flow.Acked, 201: flow.Acked, 301: flow.Retry, 307: flow.Retry, 400: flow.Fail, 401: flow.Halt, 403: flow.Halt, 404: flow.Halt,
		405: flow.Fail, 408: flow.Retry, 409: flow.Retry, 429: flow.Rest, 500: flow.Retry, 502: flow.Retry, 503: flow.Retry, 504: flow.Retry,
	} {
		for _, body := range []string{
			html, "", "null", "[]", `"x"`, "{", `{"error":null}`, `{"error":"no"}`, `{"error":{"details":{}}}`, `{"error":[]}`, "\xff\xfe",
			`{"error":{"status":7,"message":[],"details":[[],"x",null]}}`, strings.Repeat("[", maxBody), strings.Repeat(`{"error":`, 7000),
		} {
			got := judge(exchange{sent: true, status: status, header: http.Header{}, body: []byte(body)}, t0)
			if got.Verdict != want || got.Gone {
				t.Errorf("%d with %.40q: %v, gone %v; want %v", status, body, got.Verdict, got.Gone, want)
			}
		}
	}
}

// An accepted message is never sent again, whatever the answer says. Sheet A4.
func TestAcceptedWhateverItSays(t *testing.T) {
	for body, odd := range map[string]bool{
		`{"name":"projects/p/messages/1"}`: false, `{}`: false, " {}\n": false, `{"name":"x","more":[1]}`: false,
		`{"name":7}`: true, ``: true, html: true, `{"na`: true, `{"other":1}`: true, fail("NOT_FOUND", "x", fcmError("UNREGISTERED")): true,
	} {
		got := judge(exchange{sent: true, status: 200, body: []byte(body), cut: true}, t0)
		if got.Answer != (flow.Answer{Verdict: flow.Acked}) || got.odd != odd {
			t.Errorf("%q: %+v, odd %v", body, got.Answer, got.odd)
		}
	}
}

// Without an answer, what counts is whether anything was written.
func TestNoAnswer(t *testing.T) {
	err := errors.New("dial tcp: connection refused\n")
	for _, c := range []struct {
		name string
		e    exchange
		want flow.Answer
		sign sign
	}{
		{"nothing was written", exchange{err: err}, flow.Answer{Verdict: flow.Resend, Code: "NOT_SENT", Description: "dial tcp: connection refused "}, unsent},
		{"it was written", exchange{err: err, sent: true}, flow.Answer{Verdict: flow.Retry, Code: CodeNoAnswer, Description: "dial tcp: connection refused ", RetryAfter: leastRetry}, ambiguous},
	} {
		if got := judge(c.e, t0); got.Answer != c.want || got.sign != c.sign {
			t.Errorf("%s: %+v, %d", c.name, got.Answer, got.sign)
		}
	}
	for _, status := range []int{400, 401, 403, 404, 429} { // what tells whose fault it is got lost on the way
		got := judge(exchange{sent: true, status: status, body: []byte(`{"error":{"details":[{"@type":`), cut: true}, t0)
		if got.Verdict != flow.Retry || got.RetryAfter != leastRetry {
			t.Errorf("%d cut short: %+v", status, got)
		}
	}
}

// Sheet G 10: Retry-After in all its forms.
func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "34": 34 * time.Second, " 7 ": 7 * time.Second, "3600": time.Hour, "7200": time.Hour, "99999999999999999999999": time.Hour,
		"-5": 0, "1.5": 0, "soon": 0, "1e3": 0, "0x10": 0,
		"Tue, 03 Nov 2026 12:01:40 GMT":    100 * time.Second,
		"Tuesday, 03-Nov-26 12:01:40 GMT":  100 * time.Second,
		"Tue Nov  3 12:01:40 2026":         100 * time.Second,
		"Tue, 03 Nov 2026 11:59:00 GMT":    0,
		"Tue, 03 Nov 2026 12:00:00 GMT":    0,
		"Tue, 03 Nov 2126 12:00:00 GMT":    time.Hour,
		"Tue, 03 Nov 2026 12:01:40 +01:00": 0,
	} {
		h := http.Header{"Retry-After": {value}}
		if got := retryAfter(h, 0, t0); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
		for status, least := range map[int]time.Duration{503: leastRetry, 500: leastRetry, 429: leastRest} {
			floor := max(want, least)
			if status == 429 && want > 0 {
				floor = want // the project's quota: as FCM says
			}
			if got := judge(exchange{sent: true, status: status, header: h}, t0); got.RetryAfter != floor {
				t.Errorf("%d with %q: %v, want %v", status, value, got.RetryAfter, floor)
			}
		}
		slow := judge(exchange{sent: true, status: 429, header: h, body: []byte(fail("x", "x", fcmError("QUOTA_EXCEEDED")))}, t0)
		if slow.RetryAfter != max(want, leastRest) {
			t.Errorf("a target's rate with %q: %v", value, slow.RetryAfter)
		}
	}
	info := []byte(fail("UNAVAILABLE", "x", `google.rpc.RetryInfo","retryDelay":"34s"`))
	if got := judge(exchange{sent: true, status: 503, body: info}, t0); got.RetryAfter != 34*time.Second {
		t.Errorf("RetryInfo: %v", got.RetryAfter)
	}
}

// What a peer says is printable, and bounded.
func TestDescriptionsAreBounded(t *testing.T) {
	long := strings.Repeat("\u202ea\x1b[2J", 4000)
	many := `google.rpc.BadRequest","fieldViolations":[` + strings.TrimSuffix(strings.Repeat(`{"field":"f","description":"d"},`, 500), ",") + `]`
	for _, body := range []string{
		fail("x", strings.ReplaceAll(long, "\x1b", `\u001b`), fcmError(strings.Repeat("A", 1000))), fail("x", "x", many), fail("NOT OK\\n", "x", fcmError("BAD CODE")),
	} {
		got := judge(exchange{sent: true, status: 400, body: []byte(body)}, t0)
		if len(got.Description) > 600 || strings.ContainsAny(got.Description, "\x1b\n\u202e") || len(got.Code) > 64 || strings.ContainsAny(got.Code, " \n") || got.Code == "" {
			t.Errorf("%q: %q", got.Code, got.Description)
		}
	}
}

// FuzzJudge: any answer has a verdict, and only UNREGISTERED makes a target gone.
func FuzzJudge(f *testing.F) {
	f.Add(404, fail("NOT_FOUND", "x", fcmError("UNREGISTERED")), "34")
	f.Add(429, fail("x", "x", perProject, violation), "Tue, 03 Nov 2026 12:01:40 GMT")
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		got := judge(exchange{sent: true, status: status, header: http.Header{"Retry-After": {after}}, body: []byte(body)}, t0)
		if got.Verdict == 0 || got.Gone && (got.Code != "UNREGISTERED" || got.Verdict != flow.Fail) || got.RetryAfter < 0 || got.RetryAfter > time.Hour {
			t.Fatalf("%+v", got)
		}
		if (got.Verdict == flow.Acked) != (status >= 200 && status < 300) {
			t.Fatalf("%d: %v", status, got.Verdict)
		}
	})
}
