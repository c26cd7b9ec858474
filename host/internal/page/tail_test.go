package page

import (
	"math"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/feed"
)

// reading has steps, all of them at once.
type reading struct {
	steps   []feed.Step
	skipped uint64
}

func (r *reading) Ready() <-chan struct{} { return nil }
func (r *reading) Close()                 {}
func (r *reading) Take() ([]feed.Step, uint64) {
	steps := r.steps
	r.steps = nil
	return steps, r.skipped
}

// The rows of the live tail have a bound, say what was left out, and are only text.
func TestTailRows(t *testing.T) {
	row := parsed(embedded())["tail"].Lookup("step")
	var all []feed.Step
	for _, what := range feed.Whats {
		all = append(all, feed.Step{At: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), What: what, Kind: "upstream", ID: "01J", Device: strings.Repeat("d", 100), Category: hostile, Error: hostile, Attempt: 2, Took: 12})
	}
	html := string(batch(row, &reading{steps: all}))
	harmless(t, "a row", strings.NewReplacer("\x00", "", "\x1b", "", "\u202e", "").Replace(html)) // the stream escapes these
	if n := strings.Count(html, "<tr>"); n != len(all) || strings.Contains(html, "\n") || strings.Contains(html, strings.Repeat("d", 20)) {
		t.Errorf("%d rows for %d steps: %s", n, len(all), html)
	}
	if first, last := strings.Index(html, ">"+string(feed.Whats[0])+"<"), strings.Index(html, ">"+string(feed.Whats[len(feed.Whats)-1])+"<"); first < last {
		t.Error("the newest is not the first")
	}
	for range 5 {
		all = append(all, all...)
	}
	n := len(all)
	html = string(batch(row, &reading{steps: all, skipped: 1000}))
	if want := grouped(n-tailRows+1000) + " more"; strings.Count(html, "<tr>") != tailRows || !strings.Contains(html, want) {
		t.Errorf("no %q in %d bytes", want, len(html))
	}
	if batch(row, &reading{}) != nil {
		t.Error("rows of nothing")
	}
}

// What a chart shows is also said in words, and unknown points leave a gap.
func TestCharts(t *testing.T) {
	c := drawn("Handled/s", admin.Points{0, 5, 10, math.NaN(), 4}, 180)
	if c.Says() != "Handled/s in the last 15 minutes: now 4.0, at most 10" {
		t.Error(c.Says())
	}
	if strings.Count(c.Line, "M") != 2 || !strings.HasSuffix(c.Line, "M180.0 23.8") {
		t.Error(c.Line)
	}
	if drawn("x", admin.Points{math.NaN()}, 180) != nil || drawn("x", nil, 180) != nil {
		t.Error("a chart of nothing")
	}
	if c := drawn("x", admin.Points{0, 0}, 2); strings.Contains(c.Line+c.Area, "NaN") {
		t.Error(c)
	}
}
