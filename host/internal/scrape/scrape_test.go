package scrape

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What a story says of alerts is held against the rules: a story that is wrong is an error,
// and one that is right is none.
func TestJudge(t *testing.T) {
	rules := t.TempDir() + "/rules.yml"
	text := "groups: [{name: g, rules: [{alert: Full, expr: balhost_full == 1, for: 2m}, {alert: Slow, expr: 'histogram_quantile(0.99, rate(balhost_seconds_bucket[5m])) > 1'}]}]\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	full := prometheus.NewGauge(prometheus.GaugeOpts{Name: "balhost_full"})
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "balhost_seconds", Buckets: []float64{1, 10}})
	reg.MustRegister(full, seconds)
	tell := func(s *Story) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		s.Add(families)
	}
	var right, early, quiet Story
	for _, s := range []*Story{&right, &early, &quiet} {
		full.Set(0)
		tell(s)
		s.Hold(5 * time.Minute)
		s.Silent()
		full.Set(1)
		for range 10 {
			seconds.Observe(5)
		}
		tell(s)
		if s == &early {
			s.Fires("Full") // its time has not passed
		}
		s.Hold(3 * time.Minute)
	}
	right.Fires("Full")
	right.Fires("Slow")
	right.Silent("Full", "Slow")
	quiet.Silent("Slow")
	for _, c := range []struct {
		name, says string
		story      *Story
	}{{"right", "", &right}, {"early", "got: nil", &early}, {"quiet", "Full", &quiet}} {
		err := Judge(rules, t.TempDir(), map[string]*Story{c.name: c.story})
		if errors.Is(err, ErrNoPromtool) && os.Getenv("BALHOST_PROMTOOL") != "required" {
			t.Skip(err)
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
