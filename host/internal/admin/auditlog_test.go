package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/admin/audit"
	"balhost/host/internal/entry"
)

// The audit log has every change with who and what, and who was not allowed to make one;
// no payload and no token is in it.
func TestAuditLog(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, &host{}, Options{AuditDir: dir, Tokens: func() []Token {
		return []Token{{Name: "boss", Role: Admin, Secret: "s3cret-boss"}, {Name: "watch", Role: Read, Secret: "s3cret-watch"}}
	}})
	boss, watch, nobody := client(t, s, "s3cret-boss"), client(t, s, "s3cret-watch"), client(t, s, "s3cret-wrong")
	if _, err := boss.Replay(t.Context(), []string{"1", "2"}); err != nil {
		t.Fatal(err)
	}
	if err := boss.Plugin(t.Context(), "pause", "echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := boss.Send(t.Context(), Message{Token: "device-token-of-somebody", Data: []byte(`{"k":"payload"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Reload(t.Context(), ReloadOrder{}); err == nil || !strings.Contains(err.Error(), "needs the role admin, and your token has read") {
		t.Errorf("%v", err)
	}
	if _, err := nobody.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "not one of the admin block") {
		t.Errorf("%v", err)
	}
	if _, err := watch.Status(t.Context()); err != nil { // no change
		t.Fatal(err)
	}
	s.Record("signal", "SIGHUP: reloaded", nil)
	want := []struct{ who, path, did string }{
		{"token boss", "/v1/dead/replay", "replayed 2 dead letters"},
		{"token boss", "/v1/plugins/echo/pause", "paused plugin echo"},
		{"token boss", "/v1/messages", "stored downstream id-1"},
		{"token watch", "/v1/reload", "denied: POST /v1/reload needs the role admin"},
		{"", "/v1/status", "denied: GET /v1/status needs the role read"},
		{"signal", "", "SIGHUP: reloaded"},
	}
	var page AuditPage
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // what happens often is not waited for
		var err error
		if page, err = boss.Audit(t.Context(), AuditQuery{Limit: 100}); err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) >= len(want) || time.Now().After(deadline) {
			break
		}
	}
	for i, w := range want {
		if e := page.Entries[i]; e.Who != w.who || e.Path != w.path || !strings.Contains(e.Did, w.did) || w.path != "" && e.Address != "127.0.0.1" {
			t.Errorf("%d: %+v", i, e)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"s3cret", "payload", "device-token-of"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	if _, err := watch.Audit(context.Background(), AuditQuery{Limit: 1}); err == nil {
		t.Error("everybody may read it")
	}
}

// On a unix socket the log names the system's user.
func TestAuditLogNamesTheUser(t *testing.T) {
	s := serve(t, &host{}, Options{AuditDir: t.TempDir(), Listen: unixPrefix + filepath.Join(t.TempDir(), "a.sock")})
	c := client(t, s, "")
	if err := c.Plugin(t.Context(), "resume", "echo"); err != nil {
		t.Fatal(err)
	}
	page, err := c.Audit(t.Context(), AuditQuery{Limit: 1, Path: "resume", Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	if err != nil || len(page.Entries) != 1 || !strings.Contains(page.Entries[0].Who, "uid ") || page.Entries[0].Status != http.StatusOK {
		t.Errorf("%+v %v", page, err)
	}
}

// What deletes for good is in the audit log before it is done, so also when the host is killed
// meanwhile. What failed is not told as done, also of a page, which answers by leading back.
func TestAuditLogHasBeginnings(t *testing.T) {
	dir := t.TempDir()
	log := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	h := &host{}
	f := h.functions()
	during := ""
	f.Erase = func(context.Context, EraseOrder) (entry.Erased, error) {
		during = log()
		return entry.Erased{}, Refusal{Err: errors.New("a handler has it")}
	}
	refused := func(w http.ResponseWriter, r *http.Request) {
		NotDone(r, http.StatusUnprocessableEntity)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	a := testAPI(h)
	a.Functions, a.audit, a.site = f, audit.Open(dir, hclog.NewNullLogger()), []Page{{Pattern: "POST /order", Role: Operate, Handler: refused}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.audit.Run(ctx) }()
	handler := guard{a.door, (&Server{api: a}).handler()}
	for _, order := range []struct{ path, body string }{{"/v1/erase", `{"device":"whole-token-of-a-device"}`}, {"/order", ""}, {"/v1/messages", `{"token":"t","data":{},"message_id":"x; erased a device"}`}} {
		r := httptest.NewRequest("POST", order.path, strings.NewReader(order.body))
		r.Host = "localhost"
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(during, `"phase":"begun"`) || !strings.Contains(during, "/v1/erase") || strings.Contains(log(), "whole-token") {
		t.Errorf("while it is done the log has: %s", during)
	}
	page, _, err := a.audit.Read(audit.Query{Limit: 10})
	if err != nil || len(page) != 3 {
		t.Fatalf("%+v %v", page, err)
	}
	if e := page[0]; e.Status != 422 || e.Did != "" || e.Phase != audit.Ended || e.Order == "" {
		t.Errorf("an erasure that failed: %+v", e)
	}
	if e := page[1]; e.Status != 422 || e.Path != "/order" {
		t.Errorf("an order of a page that failed: %+v", e)
	}
	if e := page[2]; !strings.Contains(e.Did, `stored downstream "`) && !strings.Contains(e.Did, "stored downstream id-") {
		t.Errorf("a name that reads like another order: %+v", e)
	}
	if named("x; erased a device") != `"x; erased a device"` || named("01J-a.b") != "01J-a.b" {
		t.Error("names")
	}
}
