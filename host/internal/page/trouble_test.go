package page

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/status"
)

// lines are the troubles of the overview, each with where its link leads.
func lines(t *testing.T, pages http.Handler, role admin.Role) (all []string) {
	t.Helper()
	text := get(t, pages, "/?part=troubles", role).Body.String()
	for _, m := range regexp.MustCompile(`(?s)<strong[^>]*>([^<]*)</strong>(.*?)</p>(?:<a class="go" href="([^"]*)">)?`).FindAllStringSubmatch(text, -1) {
		all = append(all, html.UnescapeString(m[1]+m[2]+" -> "+m[3]))
	}
	return all
}

// The overview names each trouble by itself, with plugin or session, device, reason and count, and
// leads to the messages that have it. What is routine comes last, and what is long over is not there.
func TestOverviewNamesEachTrouble(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := &host{}
	h.status = admin.Status{Now: now, Ready: true, Ledger: admin.Ledger{Counts: entry.Counts{Dead: 4}}, Plugins: []admin.Plugin{{
		Name:    "shop",
		Process: status.Process{State: "running"},
		Work: status.Work{Waiting: 2, NextTry: now.Add(3 * time.Second), Retried: 8, Troubles: []status.Trouble{
			{Reason: "order 17: payment refused", Again: 6, Last: now.Add(-time.Second)},
			{Reason: "no database", Again: 1, Last: now.Add(-time.Minute)},
			{Reason: "rejected: no such room", Ended: 3, Last: now},
			{Reason: "long over", Again: 1, Last: now.Add(-2 * time.Hour)},
		}},
	}, {
		Name: "quiz", Process: status.Process{State: "absent"}, Work: status.Work{Pending: 2},
	}, {
		Name: "done", Process: status.Process{State: "absent"}, // and nothing waits for it
	}}, Sessions: []status.Session{{
		Name: "main", SenderID: "1", Connections: []status.Connection{{State: "ready"}}, Later: 3, Early: 1, NextTry: now.Add(4 * time.Second),
		Troubles: []status.Trouble{{Code: "UNREGISTERED", Gone: true, Ended: 5, Last: now}, {Code: "UNAVAILABLE", Reason: "later", Again: 2, Last: now}},
	}}}
	for i, from := range []string{"phone-a", "phone-b", "phone-a"} {
		h.dead = append(h.dead, entry.DeadLetter{ID: "01J" + from, Kind: "upstream", Plugin: "shop", Session: "main", From: from, Reason: "rejected: no room " + strings.Repeat("9", i+1)})
	}
	h.dead = append(h.dead, entry.DeadLetter{ID: "01K", Kind: "upstream", Session: "main", From: "phone-c", Reason: "data is no object", Unusable: true})
	want := []string{
		`Look at this: plugin "shop": 2 events wait for their next attempt, each with its lane; the first in 3s -> /retries?plugin=shop`,
		`Look at this: plugin "shop": 6 attempts failed, the last 1s ago: order 17: payment refused -> /messages?plugin=shop&text=payment+refused`,
		`Look at this: plugin "shop": 1 attempt failed, the last 1m0s ago: no database -> /messages?plugin=shop&text=no+database`,
		`Look at this: plugin "quiz": its file is gone, and 2 events wait for it -> /plugins/quiz`,
		`Look at this: session "main": 2 downstreams wait to be sent again, the first in 4s -> /messages?kind=downstream&session=main&state=retrying`,
		`Look at this: session "main": 2 times downstreams were not taken, and they go again, the last 0s ago: UNAVAILABLE: later -> /messages?kind=downstream&session=main&text=UNAVAILABLE`,
		`Look at this: 3 dead letters of plugin "shop", devices phone-a and phone-b: rejected: no room 9 -> /dead?plugin=shop&reason=rejected%3A+no+room`,
		`Look at this: 1 dead letter of session "main", device phone-c: data is no object -> /dead?reason=data+is+no+object`,
		`To know: session "main": 5 downstreams failed because their targets are gone, the last 0s ago: UNREGISTERED -> /messages?kind=downstream&session=main&text=UNREGISTERED`,
	}
	pages := serve(t, h, "")
	if got := lines(t, pages, admin.Read); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text := get(t, pages, "/", admin.Read).Body.String(); !strings.Contains(regexp.MustCompile("<[^>]*>").ReplaceAllString(text, ""), "ready, 7 things to look at") {
		t.Errorf("the head of the page does not say how much there is to look at:\n%.3000s", text)
	}
	text := html.UnescapeString(get(t, pages, "/plugins/shop", admin.Read).Body.String())
	for _, says := range []string{"3 events became dead letters", "long over"} {
		if !strings.Contains(text, says) {
			t.Errorf("the plugin's page does not say %q", says)
		}
	}
}

// Ids of what waits and of what is stuck lead to the message's life.
func TestIdsLeadToTheMessage(t *testing.T) {
	pages := serve(t, many(2), "")
	for path, link := range map[string]string{"/retries": `href="/messages/01K0"`, "/plugins/plugin-0": `href="/messages/E1"`} {
		if text := get(t, pages, path, admin.Read).Body.String(); !strings.Contains(text, link) {
			t.Errorf("%s has no %s", path, link)
		}
	}
}

// A restart that ends a rollback says so, and another one does not speak of it.
func TestRestartSaysWhatItEnds(t *testing.T) {
	h := many(1)
	const ends = "End the rollback of plugin-0"
	if text := get(t, serve(t, h, ""), "/plugins/plugin-0", admin.Admin).Body.String(); strings.Contains(text, ends) || !strings.Contains(text, "Restart plugin-0") {
		t.Error("nothing is rolled back")
	}
	h.status.Plugins[0].Pinned = true
	if text := get(t, serve(t, h, ""), "/plugins/plugin-0", admin.Admin).Body.String(); !strings.Contains(text, ends) || strings.Contains(text, "Restart plugin-0") {
		t.Error("a rollback would end, and the button does not say so")
	}
}

// Times are read as the commands read them, and the zone in which they are shown is named.
func TestTimesAreThoseOfTheCommands(t *testing.T) {
	defer func(was *time.Location) { time.Local = was }(time.Local)
	time.Local = time.FixedZone("CET", 3600)
	pages := serve(t, many(1), "")
	for _, since := range []string{"16:43", "2026-01-02 16:43", "2026-01-02T16:43:00Z", "2h", "2h ago", "3d"} {
		for _, path := range []string{"/messages", "/dead", "/audit"} {
			if w := get(t, pages, path+"?"+url.Values{"since": {since}}.Encode(), admin.Admin); w.Code != 200 {
				t.Errorf("%s since %s: %d", path, since, w.Code)
			}
		}
	}
	if w := get(t, pages, "/messages?since=yesterday", admin.Admin); w.Code != 400 || !strings.Contains(w.Body.String(), "want a time such as 14:03") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for path, want := range map[string]string{
		"/": "04:04:05 CET", "/dead/01J0": "2026-01-02 03:04:05 CET", "/messages": "in CET (UTC+01:00)", "/messages/01J0": `title="2026-01-02 04:04:05 CET"`, "/tail": "At (CET (UTC+01:00))",
	} {
		if text := html.UnescapeString(get(t, pages, path, admin.Admin).Body.String()); !strings.Contains(text, want) {
			t.Errorf("%s does not have %q", path, want)
		}
	}
}

func post(t *testing.T, pages http.Handler, path, kind, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := admin.WithRole(httptest.NewRequest("POST", path, strings.NewReader(body)), admin.Admin)
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	return w
}

// A downstream that waits to be sent again can be sent now, or canceled, from its page; one that
// is on its way can only be canceled, and one that has ended neither.
func TestDownstreamIsTriedOrCanceled(t *testing.T) {
	for state, want := range map[entry.State]string{entry.StateRetrying: "/retries/now /cancel", entry.StateInFlight: "/cancel", entry.StateAcked: ""} {
		h := many(1)
		f := h.functions()
		f.Life = func(context.Context, admin.LifeQuery) (admin.Life, error) {
			return admin.Life{Row: admin.Row{ID: "d-1", Kind: admin.Downstream, State: state}}, nil
		}
		mux := http.NewServeMux()
		for _, row := range New(Options{Functions: f}).Rows() {
			if row.Stream == nil {
				mux.Handle(row.Pattern, row.Handler)
			}
		}
		var orders []string
		for _, m := range regexp.MustCompile(`action="(/(?:retries/now|cancel))"`).FindAllStringSubmatch(get(t, mux, "/messages/d-1", admin.Operate).Body.String(), -1) {
			orders = append(orders, m[1])
		}
		if got := strings.Join(orders, " "); got != want {
			t.Errorf("%s: the page has the orders %q, want %q", state, got, want)
		}
	}
	h := many(1)
	w := post(t, serve(t, h, ""), "/retries/now", "application/x-www-form-urlencoded", "id=d-1&kind=downstream")
	if got := toldBy(t, serve(t, h, ""), w.Result().Cookies()); strings.Join(h.did, ";") != "retry {IDs:[d-1] Plugin: All:false}" || !strings.Contains(got, "1 downstream tried now") {
		t.Errorf("did %v, and says %s", h.did, got)
	}
}
