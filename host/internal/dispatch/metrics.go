package dispatch

import "github.com/prometheus/client_golang/prometheus"

// metrics are dispatch's. The label plugin is a file name in the plugins folder; kind is
// upstream, outcome, receipt or timer, in reruns also update; end is handled, retried, dead or
// canceled.
type metrics struct {
	ends      *prometheus.CounterVec
	waits     *prometheus.HistogramVec
	handlings *prometheus.HistogramVec
	stucks    *prometheus.GaugeVec
	reruns    *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	buckets := []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}
	m := &metrics{
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_dispatch_events_total",
			Help: "Ends of handing out, by plugin, kind of event and how it ended.",
		}, []string{"plugin", "kind", "end"}),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "balhost_dispatch_wait_seconds", Buckets: buckets,
			Help: "How long a lane with an event that was due waited for its handing out: for a process, its credit, or the end of a pause.",
		}, []string{"plugin"}),
		handlings: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "balhost_dispatch_handling_seconds", Buckets: buckets,
			Help: "From the handing out of an event to the plugin's result.",
		}, []string{"plugin"}),
		stucks: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "balhost_dispatch_stuck_handlers",
			Help: "Handlers that went on after their time was up, and keep their lanes waiting.",
		}, []string{"plugin"}),
		reruns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_dispatch_reruns_total",
			Help: "Handlers, and updates outside of events, that ran again because state that they had read had changed by their commit.",
		}, []string{"plugin", "kind"}),
	}
	if r != nil {
		r.MustRegister(m.ends, m.waits, m.handlings, m.stucks, m.reruns)
	}
	return m
}

// measure makes the series of a plugin, if it has none.
func (m *metrics) measure(p *plugin) {
	if !p.measured {
		p.measured, p.waits, p.handlings = true, m.waits.WithLabelValues(p.name), m.handlings.WithLabelValues(p.name)
		p.stucks = m.stucks.WithLabelValues(p.name)
	}
}

// forget removes the series of a plugin that is gone.
func (m *metrics) forget(p *plugin) {
	p.measured = false
	of := prometheus.Labels{"plugin": p.name}
	m.ends.DeletePartialMatch(of)
	m.waits.DeletePartialMatch(of)
	m.handlings.DeletePartialMatch(of)
	m.stucks.DeletePartialMatch(of)
	m.reruns.DeletePartialMatch(of)
}
