package pluginhost

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"balhost/host/internal/plain"
	"balhost/sdk/wire"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What a plugin's own metrics may be.
const (
	relayTime = time.Second // from asking to the answer
	maxSeries = 2000        // a histogram counts as many as it has buckets, and two
	maxLine   = 4 << 10     // bytes of a line: the parser compares each label of it with all others
)

// reserved are beginnings of names that are the host's.
var reserved = []string{"balhost_", "go_", "process_"}

// ofPrometheus reports whether Prometheus itself makes series of this name: of each scrape, and
// of each alert. A plugin's would stand beside the host's own, and alerts on these would be wrong.
// Spec: https://prometheus.io/docs/concepts/jobs_instances/
func ofPrometheus(name string) bool {
	return name == "up" || strings.HasPrefix(name, "scrape_") || name == "ALERTS" || name == "ALERTS_FOR_STATE"
}

// relayed are the last answers about plugins' own metrics.
type relayed struct {
	asking sync.Mutex // held from the questions to the answers: scrapes take turns

	registry       *prometheus.Registry
	failed, series *prometheus.GaugeVec // by plugin, of those that have metrics
}

func newRelayed() *relayed {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"plugin"})
	}
	r := &relayed{
		registry: prometheus.NewRegistry(),
		failed:   gauge("balhost_plugin_metrics_failed", "1 while the metrics of the plugin's own can't be had, or are refused; balhost plugins says why."),
		series:   gauge("balhost_plugin_metrics_series", "How many series of its own the plugin has."),
	}
	r.registry.MustRegister(r.failed, r.series)
	return r
}

// own is a plugin's answer.
type own struct {
	plugin   *supervisor // nil: it was not asked
	name     string      // the plugin's
	families map[string]*dto.MetricFamily
	series   int
	err      error
}

// Metrics asks all plugins for metrics of their own, at the same time, each for a second at
// most. It gives them the label plugin. What could not be had is in two metrics of the
// host, and in the status.
func (h *Host) Metrics() []*dto.MetricFamily {
	r := h.relayed
	r.asking.Lock()
	defer r.asking.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), relayTime)
	defer cancel()
	plugins, _ := h.named("") // no error for all; sorted by name
	answers := make([]own, len(plugins))
	var asking sync.WaitGroup
	for i, s := range plugins {
		if rpc := s.measured(); rpc != nil {
			answers[i].plugin, answers[i].name = s, s.name
			asking.Go(func() { answers[i].ask(ctx, rpc) })
		}
	}
	asking.Wait()
	r.failed.Reset()
	r.series.Reset()
	all := map[string]*dto.MetricFamily{}
	for i := range answers {
		a := &answers[i]
		if a.plugin == nil {
			continue
		}
		if a.err == nil {
			a.err = a.join(all)
		}
		a.plugin.note(a.err)
		failed := 0.0
		if a.err != nil {
			failed = 1
		}
		r.failed.WithLabelValues(a.plugin.name).Set(failed)
		r.series.WithLabelValues(a.plugin.name).Set(float64(a.series))
	}
	families, _ := r.registry.Gather() // two gauges, which can't contradict each other
	for _, f := range all {
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families
}

// measured is the way to ask the process that the status tells of; nil: there is none, it
// has no metrics, or it may still be in its Start, which reads the config.
func (s *supervisor) measured() *wire.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.shown; l != nil && s.status.State == Running && slices.Contains(l.manifest.GetCapabilities(), wire.Metrics) {
		return l.rpc
	}
	s.status.MetricsError = ""
	return nil
}

// note keeps why the plugin's metrics can't be had, for people, and logs it when that is new.
func (s *supervisor) note(err error) {
	reason := ""
	if err != nil {
		reason = plain.Line(err.Error(), 400)
	}
	s.mu.Lock()
	was := s.status.MetricsError
	s.status.MetricsError = reason
	s.mu.Unlock()
	switch {
	case reason != "" && was == "":
		s.log.Warn("metrics of the plugin's own are not exported", "err", reason)
	case reason == "" && was != "":
		s.log.Info("metrics of the plugin's own are exported again")
	}
}

// ask gets and reads the answer.
func (a *own) ask(ctx context.Context, rpc *wire.Client) {
	text, err := rpc.Metrics(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it did not answer within %s", relayTime)
		}
		a.err = err
		return
	}
	a.read(text)
}

// ReadMetrics reads a plugin's own metrics as a scrape does, and counts their series. The
// error says why none of them is taken.
func ReadMetrics(plugin string, text []byte) (series int, err error) {
	a := own{name: plugin}
	a.read(text)
	return a.series, a.err
}

// read makes the text families with the label plugin, or says what is wrong with it.
func (a *own) read(text []byte) {
	if a.err = linesFit(text); a.err != nil {
		return
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	a.families, a.err = parser.TextToMetricFamilies(bytes.NewReader(text))
	for name, f := range a.families {
		if a.err == nil {
			a.err = a.label(name, f)
		}
	}
	if a.err == nil && a.series > maxSeries {
		a.err = fmt.Errorf("it has %d series; %d are taken", a.series, maxSeries)
	}
	if a.err != nil {
		a.families, a.series = nil, 0
	}
}

// linesFit says which line is too long to be read.
func linesFit(text []byte) error {
	number := 0
	for line := range bytes.Lines(text) {
		if number++; len(line) > maxLine {
			return fmt.Errorf("line %d of its metrics has %d bytes; %d are taken", number, len(line), maxLine)
		}
	}
	return nil
}

// label adds the plugin's name to each metric of a family, and says what is wrong with it.
func (a *own) label(name string, f *dto.MetricFamily) error {
	for _, begin := range reserved {
		if strings.HasPrefix(name, begin) {
			return fmt.Errorf("its metric %s has a name of the host's: %s… is not for plugins", name, begin)
		}
	}
	if ofPrometheus(name) {
		return fmt.Errorf("its metric %s has a name of series that Prometheus makes itself: give it another, such as myplugin_%s", name, strings.ToLower(name))
	}
	if !utf8.ValidString(f.GetHelp()) { // Prometheus would refuse the whole scrape
		return fmt.Errorf("the HELP of its metric %s is not UTF-8", name)
	}
	told := map[string]bool{}
	for _, m := range f.GetMetric() {
		var text strings.Builder
		for _, l := range m.GetLabel() {
			if l.GetName() == "plugin" {
				return fmt.Errorf("its metric %s has a label plugin, which the host sets", name)
			}
		}
		m.Label = append(m.Label, &dto.LabelPair{Name: new("plugin"), Value: new(a.name)})
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		for _, l := range m.GetLabel() {
			fmt.Fprintf(&text, "%s=%q,", l.GetName(), l.GetValue())
		}
		if told[text.String()] {
			return fmt.Errorf("its metric %s is there twice with the same labels", name)
		}
		told[text.String()] = true
		m.TimestampMs = nil // it is of now
		a.series += 1 + len(m.GetHistogram().GetBucket()) + len(m.GetSummary().GetQuantile())
		if m.GetHistogram() != nil || m.GetSummary() != nil {
			a.series++
		}
	}
	return nil
}

// errKind: one scrape can't have a metric with two types.
var errKind = errors.New("another plugin's has another type")

// join puts the families to those of other plugins.
func (a *own) join(all map[string]*dto.MetricFamily) error {
	for name, f := range a.families {
		if there := all[name]; there != nil && there.GetType() != f.GetType() {
			a.series = 0
			return fmt.Errorf("its metric %s is a %s: %w", name, strings.ToLower(f.GetType().String()), errKind)
		}
	}
	for name, f := range a.families {
		if there := all[name]; there != nil {
			there.Metric = append(there.Metric, f.GetMetric()...)
		} else {
			all[name] = f
		}
	}
	return nil
}
