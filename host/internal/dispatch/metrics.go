package dispatch

import "github.com/prometheus/client_golang/prometheus"

// metrics are dispatch's. Label values: plugin is a file name in the plugins
// folder; kind is upstream, outcome or receipt; end is handled, retried or dead.
type metrics struct {
	ends *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_dispatch_events_total",
			Help: "Ends of handing out, by plugin, kind of event and how it ended.",
		}, []string{"plugin", "kind", "end"}),
	}
	if r != nil {
		r.MustRegister(m.ends)
	}
	return m
}
