package fcmsim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A message is taken, delivered to its device, and counted.
func TestSend(t *testing.T) {
	for _, h1 := range []bool{false, true} {
		s := newServer(t, Options{HTTP1Only: h1})
		c := dial(t, s)
		for _, project := range []string{s.SenderID(), s.Project()} {
			a := c.do(c.request(t.Context(), "/v1/projects/"+project+"/messages:send", `{"message":{"token":"t:1","data":{"bal_id":"m","k":"v"}}}`))
			if a.err != nil || a.code != 200 || !strings.Contains(a.body, `"name": "projects/`+s.Project()+`/messages/0:`) {
				t.Fatalf("send: %+v", a)
			}
			equal(t, "protocol", a.proto, map[bool]string{false: "HTTP/2.0", true: "HTTP/1.1"}[h1])
		}
		d, _ := s.Device("t:1")
		equal(t, "received", d.Received, 2)
		equal(t, "effects", d.Effects, 1)
		equal(t, "data", d.Last[0].Data["k"], "v")
		equal(t, "second is a duplicate", d.Last[1].Duplicate, true)
		a := c.body(`{"validate_only":true,"message":{"topic":"news","data":{"k":"v"}}}`)
		equal(t, "validate_only", compact(a.body), `{"name":"projects/balhost-simulator/messages/fake_message_id"}`)
		if _, known := s.Device("/topics/news"); known {
			t.Error("validate_only was delivered")
		}
		r := s.Report()
		equal(t, "connections", r.Connections, 1)
		equal(t, "accepted", r.Accepted, 3)
		equal(t, "by status", r.ByStatus["200"], 3)
		equal(t, "duplicates", r.Duplicates, 1)
		equal(t, "transcript", s.Transcript()[0].BalID, "m")
	}
}

// Every named answer comes with its status and body, over HTTP/2 and HTTP/1.1.
func TestNamedAnswers(t *testing.T) {
	for _, h1 := range []bool{false, true} {
		s := newServer(t, Options{HTTP1Only: h1})
		c := dial(t, s)
		for _, name := range Names() {
			r := named[name]
			if r.Status == 0 {
				continue
			}
			if err := s.Answer(Match{Target: "t"}, r); err != nil {
				t.Fatal(err)
			}
			a := c.to("t", name)
			if a.err != nil || a.code != r.Status || a.body != r.Body {
				t.Errorf("%s: %+v, want %d %s", name, a, r.Status, r.Body)
			}
		}
		equal(t, "connections", s.Counts().Connections, 1)
		equal(t, "after all rules", c.to("t", "x").code, 200)
	}
}

// Each row of sheet A6 can be told by what it says.
func TestReasons(t *testing.T) {
	for _, row := range []struct {
		r      Response
		code   int
		reason string
	}{
		{Unregistered, 404, "UNREGISTERED"}, {UnregisteredAPNs, 404, "UNREGISTERED"}, {NoProject, 404, ""}, {NotFound, 404, ""},
		{InvalidField, 400, ""}, {InvalidToken, 400, "INVALID_ARGUMENT"}, {TooBig, 400, "INVALID_ARGUMENT"},
		{SenderIDMismatch, 403, "SENDER_ID_MISMATCH"}, {PermissionDenied, 403, "IAM_PERMISSION_DENIED"}, {ServiceDisabled, 403, "SERVICE_DISABLED"},
		{ThirdPartyAuth, 401, "THIRD_PARTY_AUTH_ERROR"}, {TokenExpired, 401, "ACCESS_TOKEN_EXPIRED"}, {Unauthorized, 401, ""},
		{ProjectQuota, 429, "RATE_LIMIT_EXCEEDED"}, {TargetQuota, 429, "QUOTA_EXCEEDED"}, {TopicQuota, 429, "QUOTA_EXCEEDED"}, {Overload, 429, ""},
		{Internal, 500, "INTERNAL"}, {Unavailable, 503, "UNAVAILABLE"}, {BadGateway, 502, ""}, {Unspecified, 400, "UNSPECIFIED_ERROR"},
	} {
		equal(t, "status", row.r.Status, row.code)
		equal(t, row.r.Body, answer{body: row.r.Body}.reason(), row.reason)
	}
}

// Retry-After has all forms.
func TestRetryAfter(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	for _, form := range []string{"30", "-5", "soon", "7200", ""} {
		s.Answer(Match{}, Unavailable.After(form))
		equal(t, "Retry-After", c.to("t", "x").header.Get("Retry-After"), form)
	}
	for form, want := range map[string]time.Duration{"date+2m": 2 * time.Minute, "date-2m": -2 * time.Minute} {
		s.Answer(Match{}, Unavailable.After(form))
		a := c.to("t", "x")
		at, err := http.ParseTime(a.header.Get("Retry-After"))
		sent, err2 := http.ParseTime(a.header.Get("Date"))
		if err != nil || err2 != nil || at.Sub(sent) != want {
			t.Errorf("%s: %v, %v %v", form, a.header, err, err2)
		}
	}
}

// What is a 200 without being a good one.
func TestOddAnswers(t *testing.T) {
	for _, h1 := range []bool{false, true} {
		s := newServer(t, Options{HTTP1Only: h1})
		c := dial(t, s)
		zipped := OK
		zipped.Gzip = true
		s.Answer(Match{}, zipped)
		if a := c.to("t", "1"); a.code != 200 || !strings.Contains(a.body, `"name"`) {
			t.Errorf("gzip: %+v", a)
		}
		for _, r := range []Response{
			{Status: 200, Body: OK.Body + `{"name":"x"}`, Short: 5, Deliver: true},
			{Status: 200, Body: `{"name":"x"}`, Short: 5, Deliver: true, Reset: "INTERNAL_ERROR"},
			{Status: 200, Body: `{"name":"x"}`, Short: 5, Deliver: true, Cut: CutFIN},
		} {
			s.Answer(Match{}, r)
			if a := c.to("t", "2"); a.err == nil || a.code != 200 || len(a.body) > 5 {
				t.Errorf("short: %+v", a)
			}
		}
		large := OK
		large.Size = 3 << 20
		s.Answer(Match{}, large)
		equal(t, "large", len(c.to("t", "3").body), 3<<20)
		large.Gzip = true
		s.Answer(Match{}, large)
		equal(t, "large and compressed", len(c.to("t", "4").body), 3<<20)
		d, _ := s.Device("t")
		equal(t, "received", d.Received, 6)
	}
}

// Answers that are late, or never come.
func TestSlowAnswers(t *testing.T) {
	for _, h1 := range []bool{false, true} {
		s := newServer(t, Options{HTTP1Only: h1})
		c := dial(t, s)
		for _, r := range []Response{Unavailable.Later(20 * time.Millisecond), {Status: 503, Body: "x", BodyDelay: Duration(20 * time.Millisecond)}} {
			s.Answer(Match{}, r)
			start := time.Now()
			equal(t, "slow", c.to("t", "1").code, 503)
			if took := time.Since(start); took < 20*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		}
		for _, r := range []Response{Hang, {Status: 200, Body: "x", Hang: true}, {Delay: Duration(time.Hour)}, {Status: 200, Body: "x", BodyDelay: Duration(time.Hour)}} {
			s.Answer(Match{}, r)
			before := s.Counts()
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan answer, 1)
			go func() {
				got <- c.do(c.request(ctx, "/v1/projects/"+s.SenderID()+"/messages:send", `{"message":{"token":"t"}}`))
			}()
			await(t, s, func(n Counts) bool { return n.Requests == before.Requests+1 })
			cancel() // only now: a request that did not arrive would leave the rule for the next
			if a := <-got; !errors.Is(a.err, context.Canceled) {
				t.Errorf("%+v", a)
			}
			if !h1 { // an HTTP/1.1 client closes the connection, which the server sees when it writes
				await(t, s, func(n Counts) bool { return n.Lost == before.Lost+1 })
			}
		}
		equal(t, "the delayed one is delivered", s.Counts().Delivered, 1-map[bool]uint64{true: 1}[h1])
	}
}

// A stream ends with each code. REFUSED_STREAM is sent again by net/http itself.
func TestResets(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	for code := range codes {
		s.Answer(Match{Count: 1}, Response{Reset: code})
		a := c.to("t", code)
		if again := code == "REFUSED_STREAM" || code == "PROTOCOL_ERROR"; again != (a.err == nil) {
			t.Errorf("%s: %+v", code, a)
		}
	}
	equal(t, "resets", s.Report().ByStatus["reset"], uint64(len(codes)))
	if err := s.Answer(Match{}, Response{Reset: "NO_SUCH"}); err == nil {
		t.Error("a reset with an unknown code was taken")
	}
}

// Early answers come before the request's body is read.
func TestEarly(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	for _, r := range []Response{{Early: true, Status: 503, Body: "early"}, {Early: true, Reset: "INTERNAL_ERROR"}} {
		if err := s.Answer(Match{}, r); err != nil {
			t.Fatal(err)
		}
		body, in := io.Pipe() // it ends only after the answer
		request := c.request(t.Context(), "/v1/projects/"+s.SenderID()+"/messages:send", "")
		request.Body, request.ContentLength = body, -1
		a := c.do(request)
		in.Close()
		if (r.Status == 503) != (a.body == "early") || (r.Reset != "") != (a.err != nil) {
			t.Errorf("%+v", a)
		}
	}
}

// A message that was delivered, and an answer that denies it: the next attempt is a
// duplicate. Sheet G, row 1.
func TestDeliveredAndDenied(t *testing.T) {
	for _, h1 := range []bool{false, true} {
		for _, r := range []Response{Unavailable, Reset, Closed, {Cut: CutRST}} {
			s := newServer(t, Options{HTTP1Only: h1})
			c := dial(t, s)
			s.Answer(Match{BalID: "m1"}, r.Delivered())
			if a := c.to("t", "m1"); a.err == nil && a.code != 503 {
				t.Errorf("first: %+v", a)
			}
			equal(t, "second", c.to("t", "m1").code, 200)
			d, _ := s.Device("t")
			equal(t, "received", d.Received, 2)
			equal(t, "effects", d.Effects, 1)
			equal(t, "duplicates", s.Counts().Duplicates, 1)
		}
	}
}

func TestRulesCount(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	s.Answer(Match{Target: "gone-*", Count: -1}, Unregistered)
	s.Answer(Match{Target: "dev-?", Skip: 1, Count: 2}, Unavailable)
	for _, want := range []int{200, 503, 503, 200} {
		equal(t, "dev", c.to("dev-1", "x").code, want)
		equal(t, "gone", c.to("gone-1", "x").code, 404)
		equal(t, "other", c.to("other", "x").code, 200)
	}
	s.ClearAnswers()
	equal(t, "cleared", c.to("gone-1", "x").code, 200)
	equal(t, "ruled", s.Counts().Ruled, 6)
}
