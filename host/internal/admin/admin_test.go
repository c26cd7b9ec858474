package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"balhost/host/internal/entry"
	"balhost/host/internal/status"
	"balhost/sdk/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is what a server under test works for.
type host struct {
	mu     sync.Mutex
	dead   []entry.DeadLetter
	orders [][]string
	sent   []message.Checked
	tried  []RetryOrder

	spans       []entry.Span
	deleted     []StateOrder
	queries     []BindingQuery
	deadQueries []DeadQuery

	retries []Retry

	status  Status
	live    error
	reasons []string
	fails   error // of Send

	backup   string
	cut      bool // Backup fails behind the first bytes
	verified Verified
}

func (h *host) functions() Functions {
	return Functions{
		Status: func() Status { return h.status },
		Live:   func() error { return h.live },
		Ready:  func() (reasons, warnings []string) { return h.reasons, nil },
		Send: func(_ context.Context, d message.Checked) (string, error) {
			if h.fails != nil {
				return "", h.fails
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.sent = append(h.sent, d)
			return "id-1", nil
		},
		Dead: func(q DeadQuery) (page DeadPage, err error) {
			h.mu.Lock()
			h.deadQueries = append(h.deadQueries, q)
			h.mu.Unlock()
			i, _ := slices.BinarySearchFunc(h.dead, q.After+"\x00", func(d entry.DeadLetter, id string) int { return strings.Compare(d.ID, id) })
			if page.Dead = h.dead[i:min(len(h.dead), i+q.Limit)]; i+q.Limit < len(h.dead) {
				page.Next = page.Dead[q.Limit-1].ID
			}
			return page, nil
		},
		DeadLetter: func(id string) (entry.DeadLetter, error) {
			for _, d := range h.dead {
				if d.ID == id {
					return d, nil
				}
			}
			return entry.DeadLetter{}, fmt.Errorf("dead letter %s: %w", id, entry.ErrUnknown)
		},
		Messages: func(context.Context, MessageQuery) (MessagePage, error) { return MessagePage{}, h.fails },
		Life:     func(context.Context, LifeQuery) (Life, error) { return Life{}, h.fails },
		Retries: func(_ context.Context, plugin string, most int) (RetryPage, error) {
			return RetryPage{Retries: h.retries[:min(len(h.retries), most)], Total: len(h.retries)}, h.fails
		},
		RetryNow: func(_ context.Context, o RetryOrder) (Ordered, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.tried = append(h.tried, o)
			return Ordered{Done: 7}, h.fails
		},
		StateOwners: func(after string) (entry.StateOwners, error) {
			if after == "" {
				return entry.StateOwners{Owners: []entry.StateOwner{{Plugin: "shop", Keys: 2, Bytes: 30}}, Next: "shop"}, h.fails
			}
			return entry.StateOwners{Owners: []entry.StateOwner{{Plugin: "toys", Keys: 9, Bytes: 1, More: true}}}, h.fails
		},
		State: func(plugin string, s entry.Span) (entry.Listing, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.spans = append(h.spans, s)
			if plugin != "shop" {
				return entry.Listing{}, h.fails
			}
			return entry.Listing{Items: []entry.Item{{Key: "a b", Value: json.RawMessage(`{"n":1}`)}}, More: true}, h.fails
		},
		StateValue: func(plugin, key string) (json.RawMessage, error) {
			if key != "a/b?" {
				return nil, entry.NoSuch("no key %s", key)
			}
			return json.RawMessage(`{"n":1}`), h.fails
		},
		DeleteState: func(_ context.Context, plugin string, o StateOrder) (int, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.deleted = append(h.deleted, o)
			return 3, h.fails
		},
		Bindings: func(q BindingQuery) (BindingPage, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.queries = append(h.queries, q)
			return BindingPage{Next: "bob"}, h.fails
		},
		Unbind: func(_ context.Context, o UnbindOrder) (Unbound, error) {
			return Unbound{Done: len(o.From) - 1, Gone: o.From[:1]}, h.fails
		},
		Backup: func(_ context.Context, w io.Writer, perSecond int64) error {
			h.mu.Lock()
			h.orders = append(h.orders, []string{fmt.Sprint("backup ", perSecond)})
			h.mu.Unlock()
			if h.fails != nil && !h.cut {
				return h.fails
			}
			if _, err := io.WriteString(w, h.backup); err != nil {
				return err
			}
			return h.fails
		},
		Verify: func(context.Context) (Verified, error) { return h.verified, nil },
		Replay: h.order,
		ExportDead: func(q DeadQuery, most int) (page ExportPage, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.deadQueries = append(h.deadQueries, q)
			return ExportPage{Next: fmt.Sprint(most)}, h.fails
		},
		ImportDead: func(o ImportOrder) (Imported, error) {
			return Imported{Done: len(o.Letters) - 1, Bad: []entry.WrongLetter{{At: 1, Reason: "no"}}, Strange: []string{"7"}}, h.fails
		},
		Pauses: func(context.Context) (PausePage, error) { return PausePage{}, h.fails },
		PauseBy: func(_ context.Context, o PauseOrder) error {
			_, _, err := h.order([]string{"pause by", fmt.Sprintf("%+v", o)})
			return errors.Join(err, h.fails)
		},
		ResumeBy: func(_ context.Context, o PauseOrder) error {
			_, _, err := h.order([]string{"resume by", fmt.Sprintf("%+v", o)})
			return errors.Join(err, h.fails)
		},
		Stuck: func(context.Context) (StuckPage, error) { return StuckPage{}, h.fails },
		GiveUp: func(_ context.Context, o GiveUpOrder) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.orders = append(h.orders, []string{"give up", o.ID, fmt.Sprint(o.Replay)})
			return h.fails
		},
		Cancel: func(_ context.Context, o CancelOrder) (Ordered, error) {
			done, gone, err := h.order(o.IDs)
			return Ordered{Done: done, Gone: gone}, err
		},
		DeleteDead: h.order,
		Pause:      h.action("pause"),
		Resume:     h.action("resume"),
		Rollback:   h.action("rollback"),
		LogLevel: func(ctx context.Context, plugin, level string) error {
			return h.action("log-level "+level)(ctx, plugin)
		},
		Reload: func(_ context.Context, o ReloadOrder) (Reloaded, error) {
			if h.fails != nil {
				return Reloaded{}, h.fails
			}
			return Reloaded{Changed: []string{fmt.Sprintf("%+v", o)}}, nil
		},
	}
}

// action notes what was done to a plugin; "nobody" is none.
func (h *host) action(name string) func(context.Context, string) error {
	return func(_ context.Context, plugin string) error {
		if plugin == "nobody" {
			return fmt.Errorf("plugin %q: %w", plugin, entry.ErrUnknown)
		}
		_, _, err := h.order([]string{name, plugin})
		return err
	}
}

// order notes ids; "00009" is gone.
func (h *host) order(ids []string) (done int, gone []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orders = append(h.orders, ids)
	if slices.Contains(ids, "00009") {
		gone = []string{"00009"}
	}
	return len(ids) - len(gone), gone, nil
}

// serve runs a server until the test ends, on a free port unless o says where.
func serve(t *testing.T, h *host, o Options) *Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	o.Functions, o.Log = h.functions(), hclog.NewNullLogger()
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func client(t *testing.T, s *Server, token string) *Client {
	t.Helper()
	c := NewClient(s.Addr(), token)
	t.Cleanup(c.Close)
	return c
}

func TestStatusArrives(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	want := Status{
		Version: "v1", PID: 7, Started: now, Now: now, UptimeSeconds: 3, Ready: true,
		Sessions: []status.Session{{Name: "main", Connections: []status.Connection{{State: "ready", Since: now, Window: 100, InFlight: 3}}}},
		Ledger:   Ledger{Counts: entry.Counts{Accepted: 5, Dead: 1}, DiskFree: new(int64(9))},
		Plugins:  []Plugin{{Name: "echo", Process: status.Process{State: "running", Categories: []string{"c"}}}},
		Holding:  []status.Holding{{Category: "x", Pending: 2, Since: now}},
	}
	c := client(t, serve(t, &host{status: want}, Options{}), "")
	got, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A script walks the lists of a host that has nothing yet.
func TestEmptyListsAreNotNull(t *testing.T) {
	s := serve(t, &host{}, Options{})
	for path, want := range map[string]string{"/v1/status": `"sessions": []`, "/v1/plugins": `"plugins": []`, "/v1/dead": `"dead": []`} {
		if _, body := get(t, s, path, nil); !strings.Contains(body, want) {
			t.Errorf("%s: no %s in %s", path, want, body)
		}
	}
}

// P8: dead letters are listed to the last, and ordered about as they were
// given; P5: several keep their order.
func TestDeadLetters(t *testing.T) {
	h := &host{}
	for i := range 2*maxPage + 5 {
		h.dead = append(h.dead, entry.DeadLetter{ID: fmt.Sprintf("%05d", i), Raw: json.RawMessage(`{"a":1}`)})
	}
	c := client(t, serve(t, h, Options{}), "")
	var ids []string
	if err := c.AllDead(t.Context(), entry.DeadFilter{}, func(d entry.DeadLetter) error { ids = append(ids, d.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(ids) != len(h.dead) || !slices.IsSorted(ids) {
		t.Fatalf("listed %d of %d, sorted: %v", len(ids), len(h.dead), slices.IsSorted(ids))
	}
	page, err := c.Dead(t.Context(), DeadQuery{After: "00006", Limit: 2})
	if err != nil || len(page.Dead) != 2 || page.Dead[0].ID != "00007" || page.Next != "00008" {
		t.Errorf("the page after 00006: %+v %v", page, err)
	}
	letter, err := c.DeadLetter(t.Context(), "00042")
	if err != nil || letter.ID != "00042" || len(letter.Raw) == 0 {
		t.Errorf("one: %+v %v", letter, err)
	}
	if _, err := c.DeadLetter(t.Context(), "no/such"); err == nil || !strings.Contains(err.Error(), "no such entry") {
		t.Errorf("one that is not there: %v", err)
	}
	cancel := func(ctx context.Context, ids []string) (Ordered, error) { return c.Cancel(ctx, CancelOrder{IDs: ids}) }
	for name, do := range map[string]func(context.Context, []string) (Ordered, error){"replay": c.Replay, "delete": c.DeleteDead, "cancel": cancel} {
		h.orders = nil
		if did, err := do(t.Context(), ids); err != nil || did.Done != len(ids)-1 || !slices.Equal(did.Gone, []string{"00009"}) {
			t.Errorf("%s: %v %v", name, did, err)
		}
		if got := slices.Concat(h.orders...); !slices.Equal(got, ids) {
			t.Errorf("%s: the ids changed or lost their order", name)
		}
	}
}

// What the session's transport cannot carry is the caller's mistake, and each field has
// the name that it has here.
func TestSendThatDoesNotFit(t *testing.T) {
	h := &host{}
	s := serve(t, h, Options{})
	m, err := message.Downstream{To: message.FID("cX"), Options: message.Options{APNS: json.RawMessage(`{}`)}}.Checked()
	if err != nil {
		t.Fatal(err)
	}
	h.fails = entry.Senders{{Name: "main", ID: "1"}}.Fits("1", m)
	code, answer := request(t, s, http.MethodPost, "/v1/messages", nil, `{"fid":"cX","apns":{}}`)
	const want = `session "main" (ccs) cannot carry it: fid is set, but CCS knows no installation ids: use the registration token, or a session with fcm_v1
apns is set, but CCS has no blocks per platform: leave it out and use Options and Notification, or a session with fcm_v1`
	var f failure
	if err := json.Unmarshal([]byte(answer), &f); err != nil || code != http.StatusBadRequest || f.Error != want {
		t.Errorf("%d\ngot  %s\nwant %s", code, f.Error, want)
	}
}

func TestSend(t *testing.T) {
	h := &host{}
	c := client(t, serve(t, h, Options{}), "")
	ttl := int64(60)
	id, err := c.Send(t.Context(), Message{Token: "tokA", Data: json.RawMessage(`{"k":"<&>"}`), TimeToLive: &ttl, Group: "g", Session: "main"})
	if err != nil || id != "id-1" {
		t.Fatalf("%q %v", id, err)
	}
	want := message.Checked{To: message.Token("tokA"), Data: json.RawMessage(`{"k":"<&>"}`), Options: message.Options{TTL: message.TTL(time.Minute)}, Group: "g", Session: "main"}
	if diff := cmp.Diff([]message.Checked{want}, h.sent); diff != "" {
		t.Error(diff)
	}
	tooLong := int64(1 << 62)
	for name, m := range map[string]Message{
		"no target":  {Data: json.RawMessage(`{}`)},
		"two":        {Token: "a", Topic: "b"},
		"long ttl":   {Token: "a", TimeToLive: &tooLong},
		"data":       {Token: "a", Data: json.RawMessage(`{"k":1}`)},
		"two orders": {Token: "a", Priority: "soon"},
	} {
		if _, err := c.Send(t.Context(), m); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if len(h.sent) != 1 {
		t.Errorf("%d messages reached the host", len(h.sent))
	}
	blocks := Message{FID: "cX", Android: json.RawMessage(`{"priority":"HIGH"}`), APNS: json.RawMessage(`{"payload":{}}`), Webpush: json.RawMessage(`{}`)}
	want = message.Checked{To: message.FID("cX"), Options: message.Options{Android: blocks.Android, APNS: blocks.APNS, Webpush: blocks.Webpush}}
	if _, err := c.Send(t.Context(), blocks); err != nil || !cmp.Equal(h.sent[len(h.sent)-1], want) {
		t.Errorf("to an installation: %v, %+v", err, h.sent)
	}
}

// What the host says gets the code that tells a script who must act.
func TestErrorCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
	}{
		{entry.ErrFull, http.StatusInsufficientStorage},
		{entry.ErrClosed, http.StatusServiceUnavailable},
		{entry.ErrExists, http.StatusConflict},
		{fmt.Errorf("session %q: %w", "x", entry.ErrUnknown), http.StatusNotFound},
		{errors.New("boom"), http.StatusInternalServerError},
	} {
		s := serve(t, &host{fails: tc.err}, Options{})
		code, body := request(t, s, http.MethodPost, "/v1/messages", nil, `{"token": "t", "data": {}}`)
		if code != tc.code || !strings.Contains(body, tc.err.Error()[:4]) {
			t.Errorf("%v: %d %s", tc.err, code, body)
		}
	}
}

// P10: no request hurts the host.
func TestBadRequests(t *testing.T) {
	h := &host{}
	s := serve(t, h, Options{})
	for _, tc := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"POST", "/v1/messages", "", 400, "read the body"},
		{"POST", "/v1/messages", "{", 400, "read the body"},
		{"POST", "/v1/messages", `{"tokn": "x"}`, 400, "tokn"},
		{"POST", "/v1/messages", `{"token": "x"} {}`, 400, "after top-level value"},
		{"POST", "/v1/messages", `["token"]`, 400, "want a JSON object"},
		{"POST", "/v1/messages", `null`, 400, "want a JSON object"},
		{"POST", "/v1/messages", `{` + strings.Repeat(`"x":1,`, 100_000) + `"x":1}`, 400, "is not a field"},
		{"POST", "/v1/messages", `{"token": "` + strings.Repeat("x", maxBody) + `"}`, 413, "longer than"},
		{"POST", "/v1/dead/replay", `{"ids": []}`, 400, "give 1 to"},
		{"POST", "/v1/messages/cancel", `{"ids": [""]}`, 400, "give 1 to 1000 message ids"},
		{"POST", "/v1/dead/delete", `{"ids": [1]}`, 400, "ids is [1]: want an array, each of it a string"},
		{"POST", "/v1/dead/delete", `{"ids": ["` + strings.Repeat(`","`, maxPage) + `"]}`, 400, "give 1 to"},
		{"GET", "/v1/dead?limit=0", "", 400, "limit"},
		{"GET", "/v1/dead?limit=x", "", 400, "limit"},
		{"GET", "/v1/dead/none", "", 404, "no such entry"},
		{"GET", "/v1/state/shop?limit=0", "", 400, "limit"},
		{"GET", "/v1/state/shop?key=none", "", 404, "no key none"},
		{"POST", "/v1/state/shop/delete", `{}`, 400, "give either"},
		{"POST", "/v1/state/shop/delete", `{"key": "a", "prefix": ""}`, 400, "give either"},
		{"GET", "/v1/nothing", "", 404, "/v1/status"},
		{"DELETE", "/v1/status", "", 405, "DELETE is not allowed on /v1/status: use GET"},
	} {
		code, body := request(t, s, tc.method, tc.path, nil, tc.body)
		var f failure
		if err := json.Unmarshal([]byte(body), &f); err != nil || code != tc.code || !strings.Contains(f.Error, tc.says) {
			t.Errorf("%s %s %.40s: %d %.200s", tc.method, tc.path, tc.body, code, body)
		}
	}
	if len(h.orders)+len(h.sent) != 0 {
		t.Error("a refused request reached the host")
	}
}

// What is wrong with a message is told by the body's own names, all of it, and
// no string of it is changed: another token would be another device.
func TestMessageMistakes(t *testing.T) { // P10; ccs-protocol.md §2 rule 3, mistake 26
	h := &host{}
	s := serve(t, h, Options{})
	for body, want := range map[string]string{
		"{\"token\":\"t\xff\"}":                           "token is not UTF-8: encode it, base64 for bytes",
		`{"token":"t\ud800"}`:                             `token has half a surrogate pair at byte 2, \ud800: write both halves; do not cut text inside a character`,
		"{\"token\":\"t\",\"message_id\":\"q\xff\"}":      "message_id is not UTF-8: encode it, base64 for bytes",
		`{"token":"t","message_id":"\udc00"}`:             `message_id has half a surrogate pair at byte 1, \udc00: write both halves; do not cut text inside a character`,
		"{\"token\":\"t\",\"group\":\"\xed\xa0\x80\"}":    "group is not UTF-8: encode it, base64 for bytes",
		`{"token":"t","data":{"\ud83dx":"y"}}`:            `data has half a surrogate pair at byte 2, \ud83d: write both halves; do not cut text inside a character`,
		`{"token":"t","notification":{"title":"\udfff"}}`: `notification has half a surrogate pair at byte 10, \udfff: write both halves; do not cut text inside a character`,

		`{"token":5,"time_to_live":"600","dry_run":1,"priority":{}}`: "token is 5: want a string\ntime_to_live is \"600\": want a whole number\ndry_run is 1: want true or false\npriority is {}: want a string",
		`{"token":"t","time_to_live":1.5}`:                           "time_to_live is 1.5: want a whole number",
		`{"token":"t","time_to_live":1e30}`:                          "time_to_live is 1e30: want a whole number",
		`{"token":"t","token":"u"}`:                                  "token is there twice: leave one out",
		`{"TOKEN":"t"}`:                                              `"TOKEN" is not a field: there are token, fid, topic, condition, data, notification, time_to_live, priority, collapse_key, dry_run, delivery_receipt_requested, content_available, mutable_content, android, apns, webpush, message_id, group, session, not_before, replace`,

		`{"token":"t","not_before":"10m"}`:                  `not_before is "10m": want a date such as "2026-12-24T18:00:00Z"`,
		`{"token":"t","not_before":1764320000}`:             `not_before is 1764320000: want a date such as "2026-12-24T18:00:00Z"`,
		`{"token":"t","not_before":"1999-12-31T00:00:00Z"}`: "not_before is 1999-12-31T00:00:00Z: use a time from 2000 to 2200, on the wire in milliseconds since 1970; leave it unset to send at once",

		`{}`: "message has 0 targets: set exactly one: a token, an fid, a topic or a condition",
		`{"token":"a b","time_to_live":2419201,"collapse_key":"\n"}`: "token has a space: use the registration token exactly as the app got it\n" +
			"time_to_live is 2419201s: use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks\n" +
			"collapse_key has U+000A at byte 0, which nobody can read: leave it out",
		`{"token":"t","time_to_live":9223372036854775807}`:  "time_to_live is 9223372036854775807s: use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks",
		`{"token":"t","time_to_live":-9223372036854775808}`: "time_to_live is -9223372036854775808s: use 0 (now or never) to 2419200s (four weeks), or leave it unset for four weeks",
	} {
		code, answer := request(t, s, http.MethodPost, "/v1/messages", nil, body)
		var f failure
		if err := json.Unmarshal([]byte(answer), &f); err != nil || code != 400 || f.Error != want {
			t.Errorf("%q: %d\ngot  %s\nwant %s", body, code, f.Error, want)
		}
	}
	c := client(t, s, "")
	for _, m := range []Message{{Token: "t\xff"}, {Token: "t", MessageID: "\xed\xa0\x80"}, {Token: "t", Data: json.RawMessage(`{"k":"\ud800"}`)}} {
		if _, err := c.Send(t.Context(), m); err == nil || !strings.Contains(err.Error(), "character") && !strings.Contains(err.Error(), "not UTF-8") {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if len(h.sent) != 0 {
		t.Errorf("the host got %+v", h.sent)
	}
	code, answer := request(t, s, http.MethodPost, "/v1/messages", nil, `{"token":"t","time_to_live":null,"data":{"\ud83d\ude00":"😀"},"notification":{"of_their_own":"x"}}`)
	if code != 200 || len(h.sent) != 1 {
		t.Errorf("a good one: %d %s", code, answer)
	}
}

func TestProbesAndMetrics(t *testing.T) {
	h := &host{}
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "balhost_test_total"})
	registry.MustRegister(counter)
	s := serve(t, h, Options{Metrics: registry})
	expect := func(path string, code int, says string) {
		t.Helper()
		if got, body := get(t, s, path, nil); got != code || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	expect("/livez", 200, `"live": true`)
	expect("/readyz", 200, `"ready": true`)
	expect("/metrics", 200, "balhost_test_total 0")
	expect("/debug/pprof/", 200, "goroutine")
	expect("/debug/pprof/goroutine?debug=1", 200, "goroutine profile")
	h.live, h.reasons = errors.New("the committer is stuck"), []string{`session "main" is not connected`}
	expect("/livez", 503, "the committer is stuck")
	expect("/readyz", 503, "is not connected")
}

func get(t *testing.T, s *Server, path string, header map[string]string) (int, string) {
	t.Helper()
	return request(t, s, http.MethodGet, path, header, "")
}

// request asks with the headers given; "Host" among them replaces the address.
func request(t *testing.T, s *Server, method, path string, header map[string]string, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	req.Host = header["Host"]
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPluginActions(t *testing.T) {
	h := &host{}
	c := NewClient(serve(t, h, Options{}).Addr(), "")
	defer c.Close()
	ctx := t.Context()
	action := func(action string) func(context.Context, string) error {
		return func(ctx context.Context, name string) error { return c.Plugin(ctx, action, name) }
	}
	for _, do := range []func(context.Context, string) error{
		action("pause"), action("resume"), action("rollback"),
		func(ctx context.Context, name string) error { return c.LogLevel(ctx, name, "debug") },
	} {
		if err := do(ctx, "odd/name"); err != nil {
			t.Error(err)
		}
		if err := do(ctx, "nobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("an unknown plugin: %v", err)
		}
	}
	want := [][]string{{"pause", "odd/name"}, {"resume", "odd/name"}, {"rollback", "odd/name"}, {"log-level debug", "odd/name"}}
	if diff := cmp.Diff(want, h.orders); diff != "" {
		t.Error(diff)
	}
}

func TestReload(t *testing.T) {
	h := &host{}
	c := NewClient(serve(t, h, Options{}).Addr(), "")
	defer c.Close()
	did, err := c.Reload(t.Context(), ReloadOrder{Plugin: "echo", Force: true})
	if err != nil || !slices.Equal(did.Changed, []string{"{Plugin:echo Force:true}"}) {
		t.Errorf("%v, %v", did, err)
	}
	h.fails = Refusal{Err: errors.New("config.hcl:3,1-2: no"), Config: true}
	if _, err := c.Reload(t.Context(), ReloadOrder{}); err == nil || !strings.Contains(err.Error(), "config.hcl:3,1-2: no") {
		t.Errorf("a refused config: %v", err)
	}
}
