package fcmsim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	h := s.Handler()
	do := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		b, _ := io.ReadAll(w.Body)
		return w.Code, string(b)
	}
	ok := func(method, path, body, want string) {
		t.Helper()
		if code, got := do(method, path, body); code != http.StatusOK || !strings.Contains(got, want) {
			t.Errorf("%s %s %s: %d %.300s, want 200 and %s", method, path, body, code, got, want)
		}
	}
	ok("POST", "/answer", `{"answer":"unavailable","retry_after":"30","delay":"1ms","deliver":true,"target":"t*"}`, `{}`)
	a := c.to("t", "m")
	equal(t, "answer", a.code, 503)
	equal(t, "Retry-After", a.header.Get("Retry-After"), "30")
	equal(t, "delivered", s.Counts().Delivered, 1)
	ok("POST", "/answer", `{"count":-1,"status":418,"body":"tea","content_type":"text/plain","header":{"X-Tea":"yes"}}`, `{}`)
	a = c.to("t", "m")
	equal(t, "own answer", a.body+a.header.Get("X-Tea"), "teayes")
	ok("DELETE", "/answers", "", `{}`)
	equal(t, "no rule", c.to("t", "m").code, 200)
	ok("GET", "/answers", "", `  "unregistered": "HTTP 404 UNREGISTERED: Requested entity was not found."`)
	ok("GET", "/answers", "", `  "invalid_grant": "for a request for a bearer token: HTTP 400 invalid_grant: Invalid JWT: `)
	for name, says := range Answers() {
		if len(says) < 9 || strings.Contains(says, ": \"") {
			t.Errorf("%s is %q", name, says)
		}
	}
	ok("POST", "/token", `{"expires_in":"5s","revoke":true}`, `{}`)
	equal(t, "revoked", c.to("t", "m").code, 401)
	ok("GET", "/token", "", `"ya29.`)
	c.token = s.NewToken()
	ok("POST", "/rotate-key", "", `"private_key"`)
	ok("POST", "/quota", `{"project":1}`, `{}`)
	c.to("t", "m")
	equal(t, "quota", c.to("t", "m").code, 429)
	ok("POST", "/quota", `{}`, `{}`)
	ok("POST", "/devices", `{"token":"t2","fid":"f2","by":"fid"}`, `{}`)
	equal(t, "by fid", c.to("t2", "m").code, 404)
	ok("POST", "/uninstall", `{"target":"t"}`, `{}`)
	equal(t, "uninstalled", c.to("t", "m").code, 404)
	ok("POST", "/online", `{"target":"t3","on":false}`, `{}`)
	c.to("t3", "m")
	ok("GET", "/devices/t3", "", `"waiting":1`)
	c.send(`{"topic":"news"}`)
	ok("GET", "/devices/topics/news", "", `"received":1`)
	ok("GET", "/devices", "", `"target":"t3"`)
	ok("GET", "/report", "", "\n  \"by_status\": {\n")
	ok("GET", "/counts", "", `"over_quota":1`)
	ok("GET", "/transcript", "", `"bal_id":"m"`)
	ok("POST", "/freeze", `{"on":true}`, `{}`)
	ok("POST", "/freeze", `{"on":false}`, `{}`)
	ok("POST", "/goaway", `{"drop":1}`, `{"connections":1}`)
	await(t, s, func(Counts) bool { return s.Report().Open == 0 })
	c.to("t3", "m")
	ok("POST", "/cut", `{"mode":"rst"}`, `{"connections":1}`)

	for _, bad := range [][3]string{
		{"POST", "/answer", `{"answer":"nonsense"}`}, {"POST", "/answer", `{"statsu":503}`}, {"POST", "/answer", `{"status":99}`},
		{"POST", "/answer", `{"early":true,"status":503,"target":"t"}`}, {"POST", "/answer", `{"early":true}`}, {"POST", "/answer", `{"early":true,"status":503,"deliver":true}`},
		{"POST", "/answer", `{"reset":"x"}`}, {"POST", "/answer", `{"cut":"x"}`}, {"POST", "/answer", `{"retry_after":"date+x"}`}, {"POST", "/answer", `{"size":-1}`},
		{"POST", "/goaway", `{"code":"x"}`}, {"POST", "/goaway", `{"drop":-1}`}, {"POST", "/cut", `{"mode":"x"}`}, {"POST", "/freeze", ``},
		{"POST", "/quota", `{"topic":-1}`}, {"POST", "/devices", `{}`}, {"POST", "/online", `{"target":"t"}`}, {"POST", "/uninstall", `{}`}, {"GET", "/devices/nobody", ``},
	} {
		if code, got := do(bad[0], bad[1], bad[2]); code != http.StatusBadRequest || !strings.Contains(got, `{"error":"`) {
			t.Errorf("%v: %d %s, want 400 with an error", bad, code, got)
		}
	}
}

// A named answer keeps its own fields: a rule does not change it for the next.
func TestNamedAnswersStay(t *testing.T) {
	var r Rule
	if err := r.UnmarshalJSON([]byte(`{"answer":"redirect","header":{"Location":"elsewhere"}}`)); err != nil {
		t.Fatal(err)
	}
	equal(t, "rule", r.Header["Location"], "elsewhere")
	equal(t, "name", Redirect.Header["Location"], "https://portal.invalid/login")
}

func TestTranscriptKeepsTheLast(t *testing.T) {
	s := newServer(t, Options{Transcript: 3})
	for _, id := range []string{"0", "1", "2", "3", "4"} {
		s.mu.Lock()
		s.transcript.add(time.Time{}, &exchange{balID: id, body: make([]byte, 2*maxLine)})
		s.mu.Unlock()
	}
	for i, want := range []string{"2", "3", "4"} {
		l := s.Transcript()[i]
		equal(t, "line", l.BalID, want)
		equal(t, "body", len(l.Request), maxLine)
	}
}
