package admin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/entry"
)

// A filter arrives at the host as it was given, whichever command asks.
func TestDeadFilterArrives(t *testing.T) {
	h := &host{dead: []entry.DeadLetter{{ID: "00001"}}}
	s := serve(t, h, Options{})
	c := client(t, s, "")
	at := time.Date(2026, 5, 1, 12, 0, 0, 7, time.UTC)
	q := DeadQuery{After: "00000", Limit: 9, DeadFilter: entry.DeadFilter{
		Device: "tok…", Category: "c&d", Plugin: "p", Kind: "timer", Reason: "no such table", Since: at, Until: at.Add(time.Hour),
	}}
	if _, err := c.Dead(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if page, err := c.ExportDead(t.Context(), q); err != nil || page.Letters == nil {
		t.Fatal(page, err)
	}
	if diff := cmp.Diff([]DeadQuery{q, q}, h.deadQueries); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{
		"/v1/dead?kind=upstreams":       "one of upstream, outcome, receipt, timer",
		"/v1/dead?since=yesterday":      "a date such as",
		"/v1/dead/export?until=2h":      "a date such as",
		"/v1/dead/export?limit=1000000": "a number from 1 to 1000",
	} {
		r, err := http.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		var body strings.Builder
		_ = r.Write(&body)
		r.Body.Close()
		if r.StatusCode != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(body.String(), `\"`, `"`), want) {
			t.Errorf("%s: %s", path, &body)
		}
	}
}

func TestImportAnswers(t *testing.T) {
	c := client(t, serve(t, &host{}, Options{}), "")
	did, err := c.ImportDead(t.Context(), ImportOrder{Letters: make([]entry.Exported, 2)})
	if err != nil || did.Done != 1 || len(did.Bad) != 1 || did.Bad[0].At != 1 || len(did.Strange) != 1 {
		t.Errorf("%+v, %v", did, err)
	}
	big := entry.Exported{DeadLetter: entry.DeadLetter{RawText: strings.Repeat("\x1b", 1<<20)}, Event: make([]byte, 1<<20)}
	if _, err := c.ImportDead(t.Context(), ImportOrder{Letters: []entry.Exported{big}}); err != nil {
		t.Errorf("the largest letter that there is: %v", err)
	}
	if _, err := c.ImportDead(t.Context(), ImportOrder{}); err == nil || !strings.Contains(err.Error(), "give 1 to 1000 letters") {
		t.Errorf("no letter: %v", err)
	}
}
