package pluginhost

import "github.com/prometheus/client_golang/prometheus"

// metrics are this package's. Label values: plugin is a file name in the
// plugins folder that can be a plugin's.
type metrics struct {
	restarts *prometheus.CounterVec
	refusals *prometheus.CounterVec
	runs     *prometheus.CounterVec
}

// forget removes the series of a plugin that is gone.
func (m *metrics) forget(plugin string) {
	m.restarts.DeleteLabelValues(plugin)
	m.refusals.DeleteLabelValues(plugin)
	m.runs.DeleteLabelValues(plugin)
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_plugin_restarts_total",
			Help: "Starts of a plugin after it had failed, by plugin.",
		}, []string{"plugin"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_plugin_refusals_total",
			Help: "Contents of a plugin that were started and did not pass, or were rolled back, by plugin.",
		}, []string{"plugin"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_plugin_run_failures_total",
			Help: "Failures of a plugin's Run, by plugin.",
		}, []string{"plugin"}),
	}
	if r != nil {
		r.MustRegister(m.restarts, m.refusals, m.runs)
	}
	return m
}
