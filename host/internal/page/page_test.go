package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// hostile is text of a device that means something in HTML, in a script, in an address, and
// to the order of letters.
const hostile = "<script>alert(1)</script>\"'`&{{.}}\x00\x1b[2J\u202e</pre>"

// host is one that the pages show. It notes what it was ordered to do.
type host struct {
	status  admin.Status
	series  admin.Series
	dead    []entry.DeadLetter
	retries []admin.Retry
	did     []string
	looks   atomic.Int64
	written []byte // of a backup
	broken  error  // with which a backup, an export or an import ends
}

func (h *host) note(format string, args ...any) { h.did = append(h.did, fmt.Sprintf(format, args...)) }

func (h *host) functions() admin.Functions {
	named := func(what string) func(context.Context, string) error {
		return func(_ context.Context, name string) error { h.note("%s %s", what, name); return nil }
	}
	ordered := func(what string) func([]string) (int, []string, error) {
		return func(ids []string) (int, []string, error) { h.note("%s %v", what, ids); return len(ids), nil, nil }
	}
	return admin.Functions{
		Status: func() admin.Status { h.looks.Add(1); return h.status },
		Series: func() admin.Series { return h.series },
		Dead: func(q admin.DeadQuery) (admin.DeadPage, error) {
			var page admin.DeadPage
			for _, d := range h.dead {
				if q.Selects(&d) {
					page.Dead = append(page.Dead, d)
				}
			}
			return page, nil
		},
		DeadLetter: func(id string) (entry.DeadLetter, error) {
			for _, d := range h.dead {
				if d.ID == id {
					return d, nil
				}
			}
			return entry.DeadLetter{}, entry.NoSuch("there is no dead letter %q", id)
		},
		Replay: ordered("replay"), DeleteDead: ordered("delete"),
		Retries: func(context.Context, string, int) (admin.RetryPage, error) {
			return admin.RetryPage{Retries: h.retries, Total: len(h.retries), Now: h.status.Now}, nil
		},
		RetryNow: func(_ context.Context, o admin.RetryOrder) (admin.Ordered, error) {
			h.note("retry %+v", o)
			return admin.Ordered{Done: 1}, nil
		},
		Send: func(_ context.Context, m message.Checked) (string, error) {
			h.note("send %s", m.To.Token)
			return "m1", nil
		},
		Cancel: func(_ context.Context, o admin.CancelOrder) (admin.Ordered, error) {
			h.note("cancel %v", o.IDs)
			return admin.Ordered{Done: len(o.IDs)}, nil
		},
		StateOwners: func(string) (entry.StateOwners, error) {
			return entry.StateOwners{Owners: []entry.StateOwner{{Plugin: "chat", Keys: 2, Bytes: 99, More: true}}, Next: "chat"}, nil
		},
		State: func(string, entry.Span) (entry.Listing, error) {
			return entry.Listing{Items: []entry.Item{{Key: hostile, Value: []byte(`{"a":"<b>"}`)}}}, nil
		},
		StateValue: func(string, string) (json.RawMessage, error) { return json.RawMessage(`1`), nil },
		DeleteState: func(_ context.Context, plugin string, o admin.StateOrder) (int, error) {
			h.note("delete state of %s %q", plugin, *o.Key)
			return 1, nil
		},
		Bindings: func(admin.BindingQuery) (admin.BindingPage, error) {
			return admin.BindingPage{Bindings: []admin.Binding{{User: hostile, From: hostile + strings.Repeat("x", 100)}}}, nil
		},
		Unbind: func(_ context.Context, o admin.UnbindOrder) (admin.Unbound, error) {
			h.note("unbind %v", o.From)
			return admin.Unbound{Done: 1}, nil
		},
		Pauses: func(context.Context) (admin.PausePage, error) {
			return admin.PausePage{Pauses: []admin.Pause{{Plugin: hostile, Device: "short…"}, {Session: "main", Part: "intake"}}}, nil
		},
		PauseBy:  func(_ context.Context, o admin.PauseOrder) error { h.note("pause %+v", o); return nil },
		ResumeBy: func(_ context.Context, o admin.PauseOrder) error { h.note("resume %+v", o); return nil },
		Messages: func(context.Context, admin.MessageQuery) (admin.MessagePage, error) {
			return admin.MessagePage{Messages: h.rows(), Now: h.status.Now, Retained: 86400, Next: "x"}, nil
		},
		Life: func(_ context.Context, q admin.LifeQuery) (admin.Life, error) {
			rows := h.rows()
			if len(rows) == 0 {
				return admin.Life{Next: "x"}, nil
			}
			rows[0].TraceID = "5f7ee9b3d2bc20b85011afe28f6ec6a1"
			life := admin.Life{Row: rows[0], Cause: &rows[0], Waits: &admin.Wait{For: admin.WaitLane, Detail: hostile, Behind: hostile, Try: []string{hostile}}, Now: h.status.Now, Missing: 1}
			for i, what := range []string{admin.StepReceived, admin.StepAttempt, admin.StepDead} {
				life.Steps = append(life.Steps, admin.LifeStep{At: h.status.Now.Add(time.Duration(i) * time.Second), What: what, Detail: hostile, Attempt: i, Version: hostile, TookMS: 3, Code: hostile, Error: hostile})
			}
			life.Made = []admin.Life{{Row: rows[0], Steps: life.Steps}}
			return life, nil
		},
		Erasing: func() admin.Erasing { return admin.Erasing{} },
		Erase: func(_ context.Context, o admin.EraseOrder) (entry.Erased, error) {
			h.note("erase %s plan %v", o.Device, o.Plan)
			return entry.Erased{Upstreams: 3, Keys: []entry.StateKey{{Plugin: "chat", Key: hostile}}, Mentions: []entry.Mention{{What: "dead letter", ID: hostile}}, Held: []string{"E1"}, Proven: true}, nil
		},
		ExportDead: func(q admin.DeadQuery, _ int) (page admin.ExportPage, err error) {
			for _, d := range h.dead {
				if q.Selects(&d) {
					page.Letters = append(page.Letters, entry.Exported{DeadLetter: d, SenderID: "1", Event: []byte("e")})
				}
			}
			return page, h.broken
		},
		ImportDead: func(o admin.ImportOrder) (did admin.Imported, err error) {
			h.note("import %d check %v", len(o.Letters), o.Check)
			for i, letter := range o.Letters {
				if letter.Event == nil {
					did.Bad = append(did.Bad, entry.WrongLetter{At: i, Reason: "it has no event"})
				}
			}
			did.Done = len(o.Letters) - len(did.Bad)
			return did, h.broken
		},
		Backup: func(_ context.Context, w io.Writer, rate int64) error {
			h.note("backup at %d", rate)
			if h.written == nil {
				return h.broken
			}
			_, err := w.Write(h.written)
			return errors.Join(err, h.broken)
		},
		Forget: func(_ context.Context, plugin string, o admin.ForgetOrder) (entry.Forgotten, error) {
			h.note("forget %s %+v", plugin, o)
			return entry.Forgotten{Upstreams: 3, Categories: []string{hostile}, Moved: 3}, nil
		},
		GiveUp: func(_ context.Context, o admin.GiveUpOrder) error { h.note("give up %+v", o); return nil },
		Pause:  named("pause"), Resume: named("resume"), Rollback: named("rollback"),
		LogLevel: func(_ context.Context, plugin, level string) error { h.note("level %s %s", plugin, level); return nil },
		Reload: func(_ context.Context, o admin.ReloadOrder) (admin.Reloaded, error) {
			h.note("reload %+v", o)
			return admin.Reloaded{Changed: []string{"session main has another address"}}, nil
		},
	}
}

// rows are one message for each dead letter.
func (h *host) rows() (all []admin.Row) {
	for i, d := range h.dead {
		all = append(all, admin.Row{ID: d.ID, Kind: "upstream", State: entry.States[i%len(entry.States)], Session: "main", Category: hostile, Plugin: d.Plugin, Device: "short…", MessageID: hostile, Began: d.Received, Ended: d.Died, Code: hostile, Error: hostile})
	}
	return all
}

// many is a host with n of everything, all with text of strangers.
func many(n int) *host {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	free, inodes := int64(5<<30), uint64(9)
	h := &host{status: admin.Status{Version: "v1", Now: now, Started: now.Add(-time.Hour), Ready: n == 0, Ledger: admin.Ledger{DiskFree: &free, InodesFree: &inodes}}}
	for i := range n {
		name := fmt.Sprintf("plugin-%d", i)
		h.status.Reasons = append(h.status.Reasons, "the disk is full "+hostile)
		h.status.Warnings = append(h.status.Warnings, hostile)
		h.status.Plugins = append(h.status.Plugins, admin.Plugin{
			Name: name,
			Work: status.Work{
				Paused: i%2 == 1, Pending: 1234567, Waiting: 1, Stuck: 1, Suspects: 1, Rate: 3.14, LastFailure: hostile, LastFailureAt: now.Add(-time.Minute), Died: 3,
				Troubles:      []status.Trouble{{Reason: hostile, Again: 3, Ended: 1, Last: now.Add(-time.Minute)}},
				StuckHandlers: []status.StuckHandler{{Event: "E1", Kind: "upstream", Device: hostile, Started: now.Add(-time.Hour)}},
			},
			Process: status.Process{
				State: []status.State{"running", "backoff", "refused", "absent", "ignored", "starting"}[i%6], Reason: hostile, Version: hostile, SHA256: strings.Repeat("a", 64), PID: 7, Started: now.Add(-time.Hour),
				Categories: []string{hostile, "*"}, Previous: []string{strings.Repeat("b", 64)}, Memory: 1 << 20, Refusal: &status.Refusal{Reason: hostile, At: now.Add(-time.Second)},
			},
		})
		h.status.Sessions = append(h.status.Sessions, ofKind(i, now))
		h.status.Holding = append(h.status.Holding, status.Holding{Category: hostile, Pending: 3, Since: now.Add(-time.Hour)})
		h.dead = append(h.dead, entry.DeadLetter{
			ID: fmt.Sprintf("01J%d", i), Kind: "upstream", Reason: hostile, Died: now.Add(-time.Minute), Received: now.Add(-time.Hour), Attempts: 3, Plugin: name, Session: "main",
			Category: hostile, From: hostile + strings.Repeat("y", 100), MessageID: hostile, RawText: hostile,
		})
		h.retries = append(h.retries, admin.Retry{ID: fmt.Sprintf("01K%d", i), Plugin: name, Kind: "upstream", Category: hostile, From: hostile + strings.Repeat("z", 100), Next: now.Add(time.Minute), Reason: hostile})
	}
	h.status.Ledger.Dead = n
	h.series = admin.Series{StepSeconds: 5, Ledger: admin.LedgerSeries{Accepted: admin.Points{math.NaN(), 1, 2, math.NaN(), 7}}}
	for i := range n {
		h.series.Plugins = append(h.series.Plugins, admin.PluginSeries{Name: fmt.Sprintf("plugin-%d", i), Handled: admin.Points{0, 0, float64(i)}, Pending: admin.Points{math.NaN()}, HandlingP50: admin.Points{math.NaN(), 1, 2}, HandlingP99: admin.Points{math.NaN(), 9, 1e6}})
		h.series.Sessions = append(h.series.Sessions, admin.SessionSeries{Name: fmt.Sprintf("s%d", i), Up: admin.Points{1, 2, 3}})
	}
	return h
}

// ofKind is a session of one of the kinds that there are.
func ofKind(i int, now time.Time) status.Session {
	s := status.Session{Name: fmt.Sprintf("s%d", i), SenderID: fmt.Sprint(100 + i), Transport: "ccs", Address: hostile, LastError: hostile, LastErrorAt: now.Add(-time.Minute), Later: 2, NextTry: now.Add(time.Minute), Troubles: []status.Trouble{{Code: hostile, Reason: hostile, Again: 2, Last: now}}}
	switch i % 4 {
	case 0:
		s.Connections = []status.Connection{{Number: 1, State: "ready", Window: 100, InFlight: 40}, {Number: 2, State: "waiting", NextTry: now.Add(time.Minute)}}
	case 1:
		s.FCMv1 = &status.FCMv1{State: "resting", Window: 400, Rate: 3, MostRate: 8000}
	case 2:
		s.Gateway = &status.Gateway{Address: hostile, MaxConnections: 10, Connections: 3, LastDenied: hostile, LastDeniedAt: now, Denied: 1}
	case 3:
		s.Name, s.HaltedUntil = "", now.Add(time.Minute)
	}
	return s
}

// serve is the pages of a host behind the real server's guard of roles.
func serve(t *testing.T, h *host, device string) http.Handler {
	t.Helper()
	return muxOf(New(Options{Functions: h.functions(), Device: device}))
}

func muxOf(p *Pages) http.Handler {
	mux := http.NewServeMux()
	for _, row := range p.Rows() {
		if row.Stream == nil {
			mux.Handle(row.Pattern, row.Handler)
		}
	}
	return mux
}

func get(t *testing.T, pages http.Handler, path string, role admin.Role) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, admin.WithRole(httptest.NewRequest("GET", path, nil), role))
	return w
}

var paths = []string{"/", "/tail", "/plugins", "/sessions", "/dead", "/retries", "/send", "/state", "/state/chat", "/bindings", "/audit", "/erase", "/pauses", "/backup", "/messages", "/messages/01J0", "/plugins/chat/forget"}

// Every page is shown with none, one and many of everything, whatever devices and plugins
// have written, for each role.
func TestPagesAreShown(t *testing.T) {
	for _, n := range []int{0, 1, 13} {
		pages := serve(t, many(n), "")
		all := paths
		if n > 0 {
			all = append([]string{"/plugins/plugin-0", "/dead/01J0"}, paths...)
		}
		for _, path := range all {
			for role := admin.Read; role <= admin.Admin; role++ {
				w := get(t, pages, path, role)
				text := w.Body.String()
				if w.Code != 200 || !strings.HasPrefix(text, "<!doctype html>") || !strings.HasSuffix(strings.TrimSpace(text), "</html>") {
					t.Errorf("%s with %d as %s: %d %.300s", path, n, role, w.Code, text)
				}
				harmless(t, path, text)
			}
		}
	}
}

// harmless says where text of a stranger has become more than text.
func harmless(t *testing.T, path, html string) {
	t.Helper()
	for _, bad := range []string{"<script>", "</pre>\"", "\x00", "\x1b", "\u202e", "ZgotmplZ"} {
		if strings.Contains(html, bad) {
			i := strings.Index(html, bad)
			t.Errorf("%s has %q: …%s…", path, bad, html[max(0, i-60):min(len(html), i+60)])
		}
	}
	if found := regexp.MustCompile(`\son[a-z]+=|\sstyle=|javascript:|<style|<script[^>]*>[^<]`).FindString(html); found != "" {
		t.Errorf("%s has %q: a strict policy refuses it", path, found)
	}
}

// Whole tokens of devices are in no page, except in what names a device for an order.
func TestTokensAreShortened(t *testing.T) {
	pages := serve(t, many(2), "")
	for _, path := range append([]string{"/dead/01J0", "/plugins/plugin-0"}, paths...) {
		text := regexp.MustCompile(`<input type="hidden"[^>]*>`).ReplaceAllString(get(t, pages, path, admin.Admin).Body.String(), "")
		for _, end := range []string{"xxxxxxxx", "yyyyyyyy", "zzzzzzzz"} {
			if strings.Contains(text, end) {
				t.Errorf("%s shows a whole token", path)
			}
		}
	}
}

// A reader is shown no button that would be refused: each form that a page shows goes to a
// path that this role may use.
func TestFormsFitTheRole(t *testing.T) {
	h := many(3)
	pages := New(Options{Functions: h.functions(), Device: "http://127.0.0.1:1"})
	need, mux := map[string]admin.Role{}, http.NewServeMux()
	for _, row := range pages.Rows() {
		need[row.Pattern] = row.Role
		if row.Stream == nil {
			mux.Handle(row.Pattern, row.Handler)
		}
	}
	form := regexp.MustCompile(`(?:method="post" action|formaction)="([^"]+)"`)
	for _, row := range pages.Rows() {
		method, path, _ := strings.Cut(row.Pattern, " ")
		if method == "POST" {
			if row.Role < admin.Operate {
				t.Errorf("%s acts, and needs only the role %s", row.Pattern, row.Role)
			}
			continue
		}
		path = strings.NewReplacer("{$}", "", "{name}", "plugin-1", "{id}", "01J1", "{plugin}", "chat").Replace(path)
		if row.Stream != nil || strings.Contains(path, "{version}") {
			continue
		}
		for role := row.Role; role <= admin.Admin; role++ {
			for _, m := range form.FindAllStringSubmatch(get(t, mux, path, role).Body.String(), -1) {
				_, pattern := mux.Handler(httptest.NewRequest("POST", m[1], nil))
				if pattern == "" || need[pattern] > role {
					t.Errorf("%s as %s has a form to %s, which needs %s", path, role, m[1], need[pattern])
				}
			}
		}
	}
}

// Orders work as plain forms: they do what they say, lead back, and what they did is shown once.
func TestFormsWorkWithoutScripts(t *testing.T) {
	for _, tc := range []struct {
		path string
		form url.Values
		did  string
		says string
		back string
	}{
		{"/plugins/plugin-0/pause", url.Values{"back": {"/plugins/plugin-0"}}, "pause plugin-0", "plugin-0 is paused", "/plugins/plugin-0"},
		{"/plugins/plugin-0/resume", url.Values{}, "resume plugin-0", "plugin-0 is resumed", "/"},
		{"/plugins/plugin-0/rollback", url.Values{}, "rollback plugin-0", "plugin-0 is rolled back", "/"},
		{"/plugins/plugin-0/log-level", url.Values{"level": {"debug"}}, "level plugin-0 debug", "another level", "/"},
		{"/reload", url.Values{"plugin": {"plugin-0"}, "force": {"yes"}}, "reload {Plugin:plugin-0 Force:true}", "session main has another address", "/"},
		{"/pauses", url.Values{"session": {"main"}, "part": {"intake"}, "back": {"/pauses"}}, "pause {Plugin: Device: Lane: Session:main Intake:true Delivery:false}", "the intake of session main is paused", "/pauses"},
		{"/pauses/resume", url.Values{"plugin": {"chat"}, "device": {"d"}}, "resume {Plugin:chat Device:d Lane: Session: Intake:false Delivery:false}", "a device at plugin chat goes on", "/"},
		{"/stuck/give-up", url.Values{"id": {"E1"}, "replay": {"yes"}}, "give up {ID:E1 Replay:true}", "now the last of its lane", "/"},
		{"/dead/replay", url.Values{"id": {"01J0", "01J1"}, "back": {"/dead?after=01"}}, "replay [01J0 01J1]", "2 dead letters replayed", "/dead?after=01"},
		{"/dead/delete", url.Values{"id": {"01J0"}}, "delete [01J0]", "1 dead letter deleted", "/"},
		{"/dead/replay", url.Values{"all": {"yes"}, "plugin": {"plugin-1"}}, "replay [01J1]", "1 dead letter replayed", "/"},
		{"/dead/replay", url.Values{"back": {"/dead"}}, "", "Not done: no dead letter is chosen", "/dead"},
		{"/retries/now", url.Values{"all": {"yes"}}, "retry {IDs:[] Plugin: All:true}", "1 event tried now", "/"},
		{"/retries/now", url.Values{"id": {"01K0"}, "back": {"https://evil.example/"}}, "retry {IDs:[01K0] Plugin: All:false}", "1 event tried now", "/"},
		{"/retries/now", url.Values{"id": {"01K0"}, "back": {"//evil.example/"}}, "retry {IDs:[01K0] Plugin: All:false}", "1 event tried now", "/"},
		{"/send", url.Values{"kind": {"token"}, "to": {"phone"}, "data": {`{"k":"v"}`}, "time_to_live": {"15m"}}, "send phone", "stored as m1", "/send"},
		{"/cancel", url.Values{"ids": {"m1 m2"}, "back": {"/send"}}, "cancel [m1 m2]", "2 downstreams canceled", "/send"},
		{"/state/chat/delete", url.Values{"key": {"k"}}, `delete state of chat "k"`, "1 key deleted", "/"},
		{"/bindings/delete", url.Values{"from": {"d"}}, "unbind [d]", "1 device taken", "/"},
	} {
		h := many(2)
		pages := serve(t, h, "")
		r := admin.WithRole(httptest.NewRequest("POST", tc.path, strings.NewReader(tc.form.Encode())), admin.Admin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		if got := strings.Join(h.did, ";"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != tc.back || got != tc.did {
			t.Errorf("%s: %d to %q, did %q, want %q to %q", tc.path, w.Code, w.Header().Get("Location"), got, tc.did, tc.back)
			continue
		}
		next := admin.WithRole(httptest.NewRequest("GET", "/", nil), admin.Read)
		for _, c := range w.Result().Cookies() {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
				t.Errorf("%s: a loose cookie: %v", tc.path, c)
			}
			next.AddCookie(c)
		}
		w = httptest.NewRecorder()
		pages.ServeHTTP(w, next)
		if !strings.Contains(w.Body.String(), tc.says) {
			t.Errorf("%s: the next page does not say %q", tc.path, tc.says)
		}
		if c := w.Result().Cookies(); len(c) != 1 || c[0].MaxAge >= 0 {
			t.Errorf("%s: it would be said again: %v", tc.path, c)
		}
	}
}

// A downstream that can't be sent comes back with what is wrong, and with what was typed.
func TestSendKeepsWhatWasTyped(t *testing.T) {
	h := many(1)
	pages := serve(t, h, "")
	form := url.Values{"to": {"phone"}, "data": {"{not json"}, "group": {"g\"1"}}
	r := admin.WithRole(httptest.NewRequest("POST", "/send", strings.NewReader(form.Encode())), admin.Operate)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	for _, want := range []string{"Not sent: data is not JSON", `value="phone"`, "{not json</textarea>", `value="g&#34;1"`} {
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d, no %s in\n%s", w.Code, want, w.Body)
		}
	}
	if h.did != nil {
		t.Error(h.did)
	}
}

// Parts are fetched alone, and many readers cost one look a second.
func TestPartsShareOneLook(t *testing.T) {
	h := many(2)
	pages := serve(t, h, "")
	for range 50 {
		for _, part := range []string{"frame", "troubles", "figures", "plugins", "sessions"} {
			w := get(t, pages, "/?part="+part, admin.Read)
			if text := w.Body.String(); w.Code != 200 || strings.Contains(text, "<html") || !strings.Contains(text, `hx-get="/?part=`+part+`"`) {
				t.Fatalf("%s: %d %.200s", part, w.Code, text)
			}
		}
	}
	if n := h.looks.Load(); n > 20 { // 250 requests; a look a second at most
		t.Errorf("%d looks for 250 parts", n)
	}
}

// What is not there is said to be so, as a page.
func TestUnknownIsSaid(t *testing.T) {
	pages := serve(t, many(1), "")
	for path, want := range map[string]string{"/plugins/nobody": "there is no plugin", "/dead/none": "there is no dead letter"} {
		if w := get(t, pages, path, admin.Admin); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := get(t, pages, "/device", admin.Admin); w.Code != http.StatusNotFound {
		t.Errorf("a virtual device without balhost dev: %d", w.Code)
	}
}

// Styles and scripts have an address that changes with them, so a browser keeps them.
func TestFilesAreKept(t *testing.T) {
	pages := serve(t, many(0), "")
	for _, m := range regexp.MustCompile(`(?:href|src)="(/files/[^"]+)"`).FindAllStringSubmatch(get(t, pages, "/", admin.Read).Body.String(), -1) {
		w := get(t, pages, m[1], admin.Anyone)
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", m[1], w.Code, w.Header())
		}
	}
	if w := get(t, pages, "/files/000000000000/page.css", admin.Read); w.Code != http.StatusNotFound {
		t.Errorf("an old address: %d", w.Code)
	}
}

// A person types, and the virtual device sends it.
func TestVirtualDevice(t *testing.T) {
	var got string
	sim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			var u struct{ From, Category string }
			if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
				t.Error(err)
			}
			got = r.URL.Path + " " + u.From + " " + u.Category
			return
		}
		fmt.Fprintf(w, `{"received": %q}`, hostile)
	}))
	defer sim.Close()
	pages := serve(t, many(1), sim.URL)
	form := url.Values{"from": {"phone-1"}, "category": {"com.example"}, "data": {`{"a":1}`}}
	r := admin.WithRole(httptest.NewRequest("POST", "/device", strings.NewReader(form.Encode())), admin.Operate)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	if got != "/upstream phone-1 com.example" || w.Code != http.StatusSeeOther {
		t.Fatalf("%d, the simulator got %q", w.Code, got)
	}
	text := get(t, pages, w.Header().Get("Location"), admin.Operate).Body.String()
	if !strings.Contains(text, "What phone-1 has got") || !strings.Contains(text, "received") {
		t.Error(text)
	}
	harmless(t, "/device", text)
}

// What there is of a plugin is shown first, and a person says what becomes of it.
func TestForgetAsksFirst(t *testing.T) {
	h := many(13)
	pages := serve(t, h, "")
	if got := get(t, pages, "/plugins/plugin-3", admin.Admin).Body.String(); !strings.Contains(got, `href="/plugins/plugin-3/forget"`) || strings.Contains(got, `/rollback"`) {
		t.Errorf("the page of an absent one: %.3000s", got)
	}
	if got := get(t, pages, "/plugins/plugin-0", admin.Admin).Body.String(); strings.Contains(got, "/forget") {
		t.Errorf("the page of one that runs: %.3000s", got)
	}
	if got := get(t, pages, "/plugins/plugin-3/forget", admin.Admin).Body.String(); !strings.Contains(got, "Forget plugin-3 for good") {
		t.Errorf("asked: %.3000s", got)
	}
	for _, form := range []url.Values{{}, {"waits": {"delete"}, "state": {"yes"}}} {
		r := admin.WithRole(httptest.NewRequest("POST", "/plugins/plugin-3/forget", strings.NewReader(form.Encode())), admin.Admin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		if pages.ServeHTTP(w, r); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/plugins" {
			t.Errorf("it leads to %d %s", w.Code, w.Header().Get("Location"))
		}
	}
	want := []string{
		"forget plugin-3 {Delete:false State:false Plan:true}", "forget plugin-3 {Delete:false State:false Plan:false}", "forget plugin-3 {Delete:true State:true Plan:false}",
	}
	if !slices.Equal(h.did, want) {
		t.Errorf("did %q, should be %q", h.did, want)
	}
}

// A device is erased in two steps, and its token is in no address.
func TestEraseAsksFirst(t *testing.T) {
	h := many(1)
	pages := serve(t, h, "")
	ask := func(form url.Values) string {
		t.Helper()
		r := admin.WithRole(httptest.NewRequest("POST", "/erase", strings.NewReader(form.Encode())), admin.Admin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		harmless(t, "/erase", w.Body.String())
		return fmt.Sprint(w.Code, " ", w.Header().Get("Location"), w.Body)
	}
	token := strings.Repeat("t", 100)
	if got := ask(url.Values{"device": {token}}); !strings.Contains(got, "Erase all of this for good") || !strings.HasPrefix(got, "200 <!doctype") {
		t.Error(got)
	}
	if got := ask(url.Values{"device": {token}, "do": {"yes"}}); !strings.Contains(got, "Erased, and proven") || strings.Contains(got, token) {
		t.Error(got)
	}
	if got := ask(url.Values{}); !strings.HasPrefix(got, "422") || !strings.Contains(got, "Not done: say which device") {
		t.Error(got)
	}
	if want := []string{"erase " + token + " plan true", "erase " + token + " plan false"}; fmt.Sprint(h.did) != fmt.Sprint(want) {
		t.Error(h.did)
	}
}

// The life of a message says the time between its steps.
func TestLifeIsATimeline(t *testing.T) {
	text := get(t, serve(t, many(1), ""), "/messages/01J0", admin.Read).Body.String()
	for _, want := range []string{"It waits:", "received", "&#43;1s", "What came of it", "What caused it", "#1", "Times are in UTC", "Trace id", "5f7ee9b3d2bc20b85011afe28f6ec6a1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A rollback is offered where there is something to go back to, and says what it would start:
// while a new content is refused, what served before serves already. What was never measured is no time.
func TestRollbackSaysWhatTakesOver(t *testing.T) {
	h := many(1)
	text := func() string { return get(t, serve(t, h, ""), "/plugins/plugin-0", admin.Admin).Body.String() }
	for _, want := range []string{"Rollback</summary>", "This goes back further.", `<span class="id">bbbbbbbbbbbb</span> takes over`, "nothing handled lately"} {
		if !strings.Contains(text(), want) {
			t.Errorf("no %q in\n%s", want, text())
		}
	}
	p := &h.status.Plugins[0]
	p.Refusal, p.HandlingP50, p.HandlingP99, p.Retried = nil, 1, 2, 1
	if got := text(); strings.Contains(got, "goes back further") || !strings.Contains(got, "p99 2.0 ms") || !strings.Contains(got, "1 attempt failed") {
		t.Errorf("without a refusal:\n%s", got)
	}
	if p.Previous = nil; strings.Contains(text(), "Rollback") {
		t.Errorf("a rollback to nothing is offered:\n%s", text())
	}
}

// Of several sessions a person chooses one before a message is sent.
func TestSendAsksForTheSession(t *testing.T) {
	for n, want := range map[int]string{1: `<select name="session"><option value="">the only one</option>`, 2: `<select name="session" required><option value="">choose one</option>`} {
		if text := get(t, serve(t, many(n), ""), "/send", admin.Operate).Body.String(); !strings.Contains(text, want) {
			t.Errorf("%d sessions: no %q in\n%s", n, want, text)
		}
	}
}

// The id of a message may have any characters. Its page asks for its part again, and orders
// lead back to it, whatever they are.
func TestPathsAreEscaped(t *testing.T) {
	const path = "/messages/a%3Fb%23c%2F..%2Fd"
	text := get(t, serve(t, many(1), ""), path, admin.Operate).Body.String()
	for _, want := range []string{`hx-get="` + path + `?part=life"`, `hx-get="` + path + `?part=frame"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
