package pluginhost

import "github.com/prometheus/client_golang/prometheus"

// metrics are this package's. Label values: plugin is a file name in the
// plugins folder that can be a plugin's.
type metrics struct{ restarts, refusals, runs *prometheus.CounterVec }

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"plugin"})
	}
	m := &metrics{
		restarts: counter("balhost_plugin_restarts_total", "Starts of a plugin after it had failed, by plugin."),
		refusals: counter("balhost_plugin_refusals_total", "Contents of a plugin that were started and did not pass, or were rolled back, by plugin."),
		runs:     counter("balhost_plugin_run_failures_total", "Failures of a plugin's Run, by plugin."),
	}
	if r != nil {
		r.MustRegister(m.restarts, m.refusals, m.runs)
	}
	return m
}

// forget removes the series of a plugin that is gone.
func (m *metrics) forget(plugin string) {
	for _, c := range []*prometheus.CounterVec{m.restarts, m.refusals, m.runs} {
		c.DeleteLabelValues(plugin)
	}
}
