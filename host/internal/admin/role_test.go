package admin

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
)

// testAPI is the API of a host without a guard.
func testAPI(h *host) api {
	return api{door: &door{tokens: noTokens}, Functions: h.functions(), metrics: prometheus.NewRegistry(), log: hclog.NewNullLogger(), streams: newStreams(), crowd: &crowd{}, health: &health{}}
}

// wildcard matches what stands for a name in a route's pattern.
var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// A caller gets to a path with its role or a higher one, and is told which one is missing.
func TestRoles(t *testing.T) {
	reached := false
	for _, to := range testAPI(&host{}).routes() {
		to.handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
		method, path, _ := strings.Cut(wildcard.ReplaceAllString(to.pattern, "x"), " ")
		for role := Anyone; role <= Admin; role++ {
			reached = false
			w := httptest.NewRecorder()
			testAPI(&host{}).serve(to).ServeHTTP(w, caller{role: role}.with(httptest.NewRequest(method, path, nil)))
			want := http.StatusOK
			switch {
			case role >= to.role:
			case role == Anyone:
				want = http.StatusUnauthorized
			default:
				want = http.StatusForbidden
			}
			if w.Code != want || reached != (want == http.StatusOK) || want != http.StatusOK && !strings.Contains(w.Body.String(), "needs the role "+to.role.String()) {
				t.Errorf("%s as %s: %d %s", to.pattern, role, w.Code, w.Body)
			}
		}
		if method == "POST" && to.role < Operate {
			t.Errorf("%s changes something and needs only the role %s", to.pattern, to.role)
		}
	}
	if role, err := ParseRole("operate"); role != Operate || err != nil {
		t.Errorf("%v %v", role, err)
	}
	if _, err := ParseRole("anyone"); err == nil || !strings.Contains(err.Error(), "read, operate, admin") {
		t.Errorf("%v", err)
	}
}

// Lists have whole device tokens for those alone who may see them.
func TestReadSeesNoWholeTokens(t *testing.T) {
	const token = "fR3xQ7kSXqy0A1bCdEfGhIjKlMn"
	for _, path := range []string{"/v1/dead", "/v1/retries"} {
		for role := Read; role <= Admin; role++ {
			a := testAPI(&host{dead: []entry.DeadLetter{{ID: "1", From: token}}, retries: []Retry{{ID: "1", From: token}}})
			routes := a.routes()
			to := routes[slices.IndexFunc(routes, func(r route) bool { return r.pattern == "GET "+path })]
			w := httptest.NewRecorder()
			a.serve(to).ServeHTTP(w, caller{role: role}.with(httptest.NewRequest("GET", path, nil)))
			if whole := strings.Contains(w.Body.String(), token); whole != (role >= Operate) || !strings.Contains(w.Body.String(), token[:16]) {
				t.Errorf("%s as %s: %s", path, role, w.Body)
			}
		}
	}
}

// A wrong query is refused before the handler sees it, and what was meant is named.
func TestQueriesAreChecked(t *testing.T) {
	a := testAPI(&host{})
	to := on("GET /v1/x", Read, "", func(w http.ResponseWriter, r *http.Request) { answer(w, done{}) }).asks(
		text("device", ""), choice("kind", "", "upstream", "outcome"), yes("full", "").needs(Operate), moment("since", ""), span("min_age", ""), limitParameter)
	for _, tc := range []struct {
		query string
		code  int
		says  string
	}{
		{"", 200, ""},
		{"device=d&kind=outcome&since=2026-12-24T18:00:00Z&min_age=1h30m&limit=7", 200, ""},
		{"kind=&limit=&since=&min_age=", 200, ""},
		{"divice=d", 400, "do you mean device?"},
		{"everything=d", 400, "it takes device, kind, full, since, min_age, limit"},
		{"kind=up", 400, "want one of upstream, outcome"},
		{"since=yesterday", 400, "want a date"},
		{"min_age=3", 400, "want a time such as"},
		{"min_age=-3s", 400, "want a time such as"},
		{"limit=1001", 400, "want a number from 1 to 1000"},
		{"limit=1&limit=2", 400, "twice"},
		{"full=true", 403, "needs the role operate, and your token has read"},
	} {
		w := httptest.NewRecorder()
		a.serve(to).ServeHTTP(w, caller{role: Read}.with(httptest.NewRequest("GET", "/v1/x?"+tc.query, nil)))
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.says) {
			t.Errorf("%s: %d %s", tc.query, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	a.serve(to).ServeHTTP(w, caller{role: Operate}.with(httptest.NewRequest("GET", "/v1/x?full=yes", nil)))
	if w.Code != 400 || !strings.Contains(w.Body.String(), "true or false") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// testTokens is one token of the role admin.
func testTokens() []Token { return []Token{{Role: Admin, Secret: "s3cret"}} }
