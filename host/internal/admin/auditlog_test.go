package admin

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
