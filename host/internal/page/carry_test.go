package page

import (
	"context"
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
)

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// What a hidden field names is what the order gets, whatever bytes it has: the page is written
// so that nothing moves a terminal, and a browser changes line ends.
func TestHiddenFieldsKeepEveryByte(t *testing.T) {
	const odd = " a\x07b\r\n\u202e\xff=+ "
	h := many(1)
	f := h.functions()
	f.State = func(string, entry.Span) (entry.Listing, error) {
		return entry.Listing{Items: []entry.Item{{Key: odd, Value: []byte(`1`)}}}, nil
	}
	got := "nothing"
	f.DeleteState = func(_ context.Context, _ string, o admin.StateOrder) (int, error) { got = *o.Key; return 1, nil }
	mux := muxOf(New(Options{Functions: f}))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, admin.WithRole(httptest.NewRequest("GET", "/state/chat", nil), admin.Admin))
	form := url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(w.Body.String(), -1) {
		value := strings.NewReplacer("\r\n", "\r\n", "\n", "\r\n").Replace(html.UnescapeString(field[2])) // as a browser does
		form.Add(field[1], value)
	}
	send := func(form url.Values) *httptest.ResponseRecorder {
		r := admin.WithRole(httptest.NewRequest("POST", "/state/chat/delete", strings.NewReader(form.Encode())), admin.Admin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	if w := send(form); w.Code != http.StatusSeeOther || got != odd {
		t.Errorf("%d: the order is about %q instead of %q, from %v", w.Code, got, odd, form)
	}
	got = "nothing"
	if send(url.Values{"key.b64": {"%"}}); got != "nothing" {
		t.Errorf("a field that can't be read deletes %q", got)
	}
	typed := entered(url.Values{"id": {" x "}})
	if typed("id") != "x" || entered(url.Values{"id": {" x "}, "id.b64": {"IHgg"}})("id") != " x " {
		t.Error("who types is freed of spaces, and a hidden field keeps them")
	}
}

// An order of the page that the host refuses does not read as done in the audit log.
func TestRefusedOrdersAreNotDone(t *testing.T) {
	f := many(1).functions()
	f.Pause = func(context.Context, string) error { return entry.NoSuch("there is no such plugin") }
	s, err := admin.Listen(admin.Options{
		Listen: "127.0.0.1:0", AuditDir: t.TempDir(), Functions: f, Pages: New(Options{Functions: f}).Rows(), Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	here := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := here.PostForm("http://"+s.Addr()+"/plugins/none/pause", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	c := admin.NewClient(s.Addr(), "")
	defer c.Close()
	page, err := c.Audit(t.Context(), admin.AuditQuery{Limit: 10})
	if err != nil || resp.StatusCode != http.StatusSeeOther || len(page.Entries) != 1 || page.Entries[0].Status != http.StatusNotFound || page.Entries[0].Did != "" {
		t.Errorf("%s, %+v, %v", resp.Status, page, err)
	}
}

// An order that is refused has the status in the audit log that the API would answer.
func TestRefusedOrdersHaveAStatus(t *testing.T) {
	for want, err := range map[int]error{404: entry.NoSuch("no"), 400: wrong("no"), 422: admin.Refusal{Err: errors.New("no")}, 503: entry.ErrClosed, 500: errors.New("no")} {
		if got := codeOf(httptest.NewRequest("POST", "/", nil), err); got != want {
			t.Errorf("%v: %d instead of %d", err, got, want)
		}
	}
	for e, want := range map[string]admin.Audited{
		"done": {Status: 303}, "not done": {Status: 422}, "not allowed": {Status: 403}, "begun": {Phase: "begun"}, "cut off": {Phase: "cut off", Status: 200},
	} {
		if got := ofEntry(want).Word; got != e {
			t.Errorf("%+v reads %q", want, got)
		}
	}
}
