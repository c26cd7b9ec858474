package daemon

import (
	"math"
	"slices"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/status"
)

// samePoints compares points; NaN is like NaN.
func samePoints(a, b admin.Points) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) })
}

// Counters become rates by the second. What was not counted at both ends of a step, or began
// anew, is not known; neither is what a silent part would have said.
func TestSeries(t *testing.T) {
	s := &sampler{}
	if got := s.series(); len(got.Times) != 0 || got.StepSeconds != 5 {
		t.Errorf("without samples: %+v", got)
	}
	begin := time.Now().Add(-time.Minute)
	for i, one := range []sample{
		{plugins: map[string]status.Work{"echo": {Handled: 10, Pending: 1}}, sessions: map[string]sessionSample{"main": {up: 5}}, ledger: &entry.Counts{Accepted: 5}},
		{plugins: map[string]status.Work{"echo": {Handled: 60, Pending: 2, HandlingP50: 1.5}, "late": {Handled: 1}}, sessions: map[string]sessionSample{"main": {up: 15, inFlight: 3}}},
		{plugins: map[string]status.Work{"echo": {Handled: 3}, "late": {Handled: 6}}, sessions: map[string]sessionSample{"main": {up: 15}}, ledger: &entry.Counts{Accepted: 9, Dead: 1}},
	} {
		one.at = begin.Add(time.Duration(i) * seriesStep)
		s.keep(one)
	}
	got, unknown := s.series(), math.NaN()
	if len(got.Times) != 2 || got.Times[1]-got.Times[0] != 5 || len(got.Plugins) != 2 || got.Plugins[0].Name != "echo" || len(got.Sessions) != 1 {
		t.Fatalf("series: %+v", got)
	}
	for name, c := range map[string]struct{ got, want admin.Points }{
		"handled":      {got.Plugins[0].Handled, admin.Points{10, unknown}},
		"pending":      {got.Plugins[0].Pending, admin.Points{2, 0}},
		"p50":          {got.Plugins[0].HandlingP50, admin.Points{1.5, unknown}},
		"late handled": {got.Plugins[1].Handled, admin.Points{unknown, 1}},
		"up":           {got.Sessions[0].Up, admin.Points{2, 0}},
		"in flight":    {got.Sessions[0].InFlight, admin.Points{3, 0}},
		"accepted":     {got.Ledger.Accepted, admin.Points{unknown, unknown}},
		"dead":         {got.Ledger.Dead, admin.Points{unknown, 1}},
	} {
		if !samePoints(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

// Only the last 15 minutes are kept.
func TestSeriesAreBounded(t *testing.T) {
	s := &sampler{}
	begin := time.Now()
	for i := range 1000 {
		s.keep(sample{at: begin.Add(time.Duration(i) * seriesStep), plugins: map[string]status.Work{"echo": {Handled: uint64(5 * i)}}})
	}
	got := s.series()
	if n := len(got.Times); n != 180 || len(got.Plugins[0].Handled) != n || got.Times[n-1] != begin.Add(999*seriesStep).Unix() {
		t.Errorf("%d steps, the last at %d", len(got.Times), got.Times[len(got.Times)-1])
	}
	for _, v := range got.Plugins[0].Handled {
		if v != 1 {
			t.Fatalf("handled %v/s, want 1", v)
		}
	}
}
