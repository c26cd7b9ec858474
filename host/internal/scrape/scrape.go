// Package scrape keeps what metrics said over a time, and has promtool say which alerts
// that fires: tests make a trouble, and look whether somebody would be told. It starts
// promtool and nothing else. Start at [Story].
package scrape

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Interval is the time from one scrape to the next.
const Interval = 30 * time.Second

// Story is what was scraped, one scrape each Interval. Only series of balhost are kept,
// and up, which says whether there was an answer.
type Story struct {
	series map[string][]string // the values by series; "_" where there is none
	n      int                 // scrapes
	checks []check
}

type check struct {
	Expr    string   `json:"expr"`
	At      string   `json:"eval_time"`
	Samples []sample `json:"exp_samples"`
}

type sample struct {
	Labels string  `json:"labels"`
	Value  float64 `json:"value"`
}

// Add adds a scrape's answer.
func (s *Story) Add(families []*dto.MetricFamily) {
	s.n++
	s.put(`up{job="balhost"}`, 1)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "balhost_") {
			continue
		}
		for _, m := range f.GetMetric() {
			s.metric(f.GetName(), m)
		}
	}
}

// Down adds a scrape that got no answer.
func (s *Story) Down() {
	s.n++
	s.put(`up{job="balhost"}`, 0)
}

// Hold adds the last scrape again and again: for so long nothing changes.
func (s *Story) Hold(d time.Duration) {
	for range d / Interval {
		for name, values := range s.series {
			if len(values) == s.n {
				s.series[name] = append(values, values[s.n-1])
			}
		}
		s.n++
	}
}

// Fires says that an alert fires now.
func (s *Story) Fires(alert string) {
	s.expect(fmt.Sprintf(`count(ALERTS{alertname=%q,alertstate="firing"}) > bool 0`, alert), sample{"{}", 1})
}

// Silent says that no alert fires now, but for these.
func (s *Story) Silent(but ...string) {
	s.expect(fmt.Sprintf(`ALERTS{alertstate="firing",alertname!~%q}`, strings.Join(but, "|")))
}

func (s *Story) expect(expr string, samples ...sample) {
	s.checks = append(s.checks, check{expr, (time.Duration(max(s.n-1, 0)) * Interval).String(), samples})
}

func (s *Story) metric(name string, m *dto.Metric) {
	put := func(name string, value float64, more ...string) {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		labels = append(labels, more...)
		slices.Sort(labels)
		s.put(name+"{"+strings.Join(labels, ",")+"}", value)
	}
	switch h := m.GetHistogram(); {
	case h != nil:
		for _, b := range h.GetBucket() {
			put(name+"_bucket", float64(b.GetCumulativeCount()), fmt.Sprintf("le=%q", number(b.GetUpperBound())))
		}
		put(name+"_bucket", float64(h.GetSampleCount()), `le="+Inf"`)
		put(name+"_sum", h.GetSampleSum())
		put(name+"_count", float64(h.GetSampleCount()))
	case m.GetCounter() != nil:
		put(name, m.GetCounter().GetValue())
	case m.GetGauge() != nil:
		value := m.GetGauge().GetValue()
		if strings.HasSuffix(name, "_timestamp_seconds") { // promtool's clock begins at 0
			value += (time.Duration(s.n) * Interval).Seconds() - float64(time.Now().Unix())
		}
		put(name, value)
	case m.GetUntyped() != nil:
		put(name, m.GetUntyped().GetValue())
	}
}

// put adds a value of this scrape.
func (s *Story) put(series string, value float64) {
	if s.series == nil {
		s.series = map[string][]string{}
	}
	values := s.series[series]
	for len(values) < s.n-1 {
		values = append(values, "_")
	}
	text := number(value)
	if math.IsNaN(value) {
		text = "_"
	}
	if len(values) < s.n { // else a family that is told twice
		s.series[series] = append(values, text)
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// file is what promtool takes: its YAML may be JSON.
type file struct {
	Rules    []string `json:"rule_files"`
	Interval string   `json:"evaluation_interval"`
	Tests    []test   `json:"tests"`
}

type test struct {
	Name     string  `json:"name"`
	Interval string  `json:"interval"`
	Input    []input `json:"input_series"`
	Checks   []check `json:"promql_expr_test"`
}

type input struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

// ErrNoPromtool: promtool is not installed.
var ErrNoPromtool = errors.New("promtool is not there: it is in Debian's package prometheus")

// Judge has promtool compare what the stories say of alerts with these rules. Its files are
// in dir.
func Judge(rules, dir string, stories map[string]*Story) error {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		return ErrNoPromtool
	}
	if rules, err = filepath.Abs(rules); err != nil {
		return err
	}
	f := file{Rules: []string{rules}, Interval: Interval.String()}
	for name, s := range stories {
		t := test{Name: name, Interval: Interval.String(), Checks: s.checks}
		for series, values := range s.series {
			t.Input = append(t.Input, input{series, strings.Join(values, " ")})
		}
		slices.SortFunc(t.Input, func(a, b input) int { return strings.Compare(a.Series, b.Series) })
		f.Tests = append(f.Tests, t)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "story.yml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(promtool, "test", "rules", name).CombinedOutput(); err != nil {
		return fmt.Errorf("promtool test rules: %w\n%s", err, out)
	}
	return nil
}
