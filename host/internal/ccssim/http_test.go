package ccssim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	s := newServer(t, Options{Run: "r"})
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
	c := login(t, s)
	ok("POST", "/upstream", `{"from":"tok","category":"c","data":{"k":"v"}}`, `"u-r-1"`)
	equal(t, "upstream", c.receive(1)[0], "tok u-r-1")
	c.ack("tok", "u-r-1")
	ok("POST", "/nack", `{"count":1,"code":"INTERNAL_SERVER_ERROR"}`, `{}`)
	c.downstream(`{"to":"tok","message_id":"m"}`)
	equal(t, "nack", c.payload()["error"], any("INTERNAL_SERVER_ERROR"))
	ok("DELETE", "/nack", "", `{}`)
	ok("POST", "/canonical", `{"token":"a","registration_id":"b"}`, `{}`)
	c.downstream(`{"to":"a","message_id":"m"}`)
	equal(t, "canonical", c.payload()["registration_id"], any("b"))
	c.downstream(`{"to":"/topics/x","message_id":"m"}`)
	c.payload()
	ok("GET", "/devices/topics/x", "", `"received":1`)
	ok("GET", "/devices/tok", "", `"acked":1`)
	ok("GET", "/acked", "", "tok\tu-r-1\n")
	ok("GET", "/report", "", `"downstreams_nacked": 1`)
	ok("GET", "/counts", "", `"acked":1`)
	ok("GET", "/transcript", "", `u-r-1`)
	ok("POST", "/devices", `{"count":2,"limit":3,"category":"x"}`, `{}`)
	c.receive(3)
	ok("DELETE", "/devices", "", `{}`)
	ok("POST", "/inject", `{"raw":" "}`, `{"connections":1}`)
	ok("POST", "/drain", `{"grace":"1h"}`, `{"connections":1}`)
	equal(t, "drain", c.payload()["control_type"], any("CONNECTION_DRAINING"))
	ok("POST", "/freeze", `{"on":true}`, `{}`)
	ok("POST", "/freeze", `{"on":false}`, `{}`)
	ok("POST", "/cut", `{"conn":1}`, `{"connections":1}`)
	c.over()
	login(t, s)
	ok("POST", "/stream-error", `{"condition":"conflict"}`, `{"connections":1}`)

	for _, bad := range [][3]string{
		{"POST", "/upstream", `{"form":"tok"}`}, {"POST", "/upstream", `{}`}, {"POST", "/nack", `{"count":"2"}`},
		{"POST", "/drain", `{"grace":5}`}, {"POST", "/cut", `{"mode":"x"}`}, {"POST", "/freeze", ``},
		{"POST", "/stream-error", `{}`}, {"POST", "/devices", `{"count":-1}`}, {"GET", "/devices/nobody", ``},
	} {
		if code, got := do(bad[0], bad[1], bad[2]); code != http.StatusBadRequest || !strings.Contains(got, `{"error":"`) {
			t.Errorf("%v: %d %s, want 400 with an error", bad, code, got)
		}
	}
}

func TestTranscriptKeepsTheLast(t *testing.T) {
	tr := transcript{slots: make([]slot, 3)}
	for i := range 5 {
		tr.add(time.Time{}, 1, true, fmt.Append(nil, i))
	}
	got, _ := json.Marshal(tr.lines())
	for i, want := range []string{"2", "3", "4"} {
		equal(t, string(got), tr.lines()[i].Stanza, want)
	}
}
