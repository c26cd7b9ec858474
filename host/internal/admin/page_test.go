package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A page is behind the same guard as the API: no page of another site reaches it or acts
// by it, and its handler knows the caller's role.
func TestPagesAreGuarded(t *testing.T) {
	var role Role
	reached := 0
	page := Page{Pattern: "GET /{$}", Role: Read, Handler: func(w http.ResponseWriter, r *http.Request) { reached++; role = RoleOf(r) }}
	act := Page{Pattern: "POST /plugins/{name}/{order}", Role: Operate, Handler: page.Handler}
	a := testAPI(&host{})
	a.site = []Page{page, act}
	a.door = &door{tokens: func() []Token { return []Token{{Role: Admin, Secret: "secret"}} }}
	s := &Server{api: a}
	for _, tc := range []struct {
		method, path, site, origin, token string
		want                              int
	}{
		{"GET", "/", "none", "", "secret", 200},
		{"GET", "/", "same-origin", "", "secret", 200},
		{"POST", "/plugins/a/pause", "same-origin", "http://example.com", "secret", 200},
		{"GET", "/", "", "", "", 303},
		{"GET", "/", "cross-site", "", "secret", 403},
		{"POST", "/plugins/a/pause", "cross-site", "http://evil.example", "secret", 403},
		{"POST", "/plugins/a/pause", "same-site", "", "secret", 403},
		{"POST", "/plugins/a/pause", "", "http://evil.example", "secret", 403},
		{"POST", "/", "same-origin", "", "secret", 405},
	} {
		reached = 0
		r := httptest.NewRequest(tc.method, tc.path, nil)
		for name, value := range map[string]string{"Sec-Fetch-Site": tc.site, "Origin": tc.origin, "Authorization": "Bearer " + tc.token} {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		guard{a.door, s.handler()}.ServeHTTP(w, r)
		if got := fmt.Sprint(w.Code, reached); got != fmt.Sprint(tc.want, map[bool]int{true: 1}[tc.want == 200]) {
			t.Errorf("%+v: %s %s", tc, got, w.Body)
		}
		if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || strings.Contains(got, "unsafe") {
			t.Errorf("%+v: the policy is %q", tc, got)
		}
	}
	if role != Admin {
		t.Errorf("the handler sees the role %s", role)
	}
}
