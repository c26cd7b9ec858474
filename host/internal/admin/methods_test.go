package admin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"balhost/sdk/message"
)

// A path that is there says which methods it takes; an empty body is none,
// whether its length was told or not.
func TestMethodsAndEmptyBodies(t *testing.T) {
	s := &Server{api: api{Functions: (&host{}).functions(), log: hclog.NewNullLogger(), crowd: &crowd{}, health: &health{}}}
	h := s.handler()
	for _, c := range []struct {
		method, path string
		body         io.Reader
		code         int
		allow        string
	}{
		{"DELETE", "/v1/messages", nil, http.StatusMethodNotAllowed, "GET, POST"},
		{"GET", "/v1/plugins/echo/pause", nil, http.StatusMethodNotAllowed, "POST"},
		{"POST", "/v1/status", nil, http.StatusMethodNotAllowed, "GET"},
		{"DELETE", "/v1/dead/replay", nil, http.StatusMethodNotAllowed, "GET, POST"}, // GET as a letter's id
		{"GET", "/v1/nothing", nil, http.StatusNotFound, ""},
		{"POST", "/v1/reload", nil, http.StatusOK, ""},
		{"POST", "/v1/reload", io.MultiReader(), http.StatusOK, ""},
		{"POST", "/v1/reload", io.MultiReader(strings.NewReader("{")), http.StatusBadRequest, ""},
	} {
		r := httptest.NewRequest(c.method, c.path, c.body)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, caller{role: Admin}.with(r))
		if w.Code != c.code || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %q %s", c.method, c.path, w.Code, w.Header().Get("Allow"), w.Body)
		}
	}
}

// A client that hangs up is no error of the host's.
func TestHangUp(t *testing.T) {
	var log bytes.Buffer
	f := Functions{Send: func(ctx context.Context, _ message.Checked) (string, error) { return "", context.Cause(ctx) }}
	s := api{Functions: f, log: hclog.New(&hclog.LoggerOptions{Output: &log})}
	ctx, gone := context.WithCancel(context.Background())
	gone()
	r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader(`{"token":"t","data":{"k":"v"}}`)).WithContext(ctx)
	s.send(httptest.NewRecorder(), r)
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}
