package outbox

import "github.com/prometheus/client_golang/prometheus"

// metrics are the outbox's counters.
type metrics struct {
	outcomes *prometheus.CounterVec // label status: acked, failed, expired
	nacks    *prometheus.CounterVec // label verdict: those of flow.Verdict
}

func newMetrics(reg prometheus.Registerer, b *Outbox) *metrics {
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_outbox_outcomes_total",
			Help: "Downstreams that ended, by how.",
		}, []string{"status"}),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_outbox_nacks_total",
			Help: "Refusals by the peers of transports, by the verdict on them.",
		}, []string{"verdict"}),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func(Stats) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			all, _ := b.stats(nil)
			return float64(value(all))
		})
	}
	reg.MustRegister(m.outcomes, m.nacks,
		gauge("balhost_outbox_pending", "Downstreams without an outcome.", func(s Stats) int { return s.Pending }),
		gauge("balhost_outbox_ready", "Of these, those that may go now.", func(s Stats) int { return s.Ready }),
		gauge("balhost_outbox_routes", "Devices that are connected by themselves.", func(s Stats) int { return s.Routes }),
		gauge("balhost_outbox_taken", "Of these, those with a connection or a connected device.", func(s Stats) int { return s.Taken }),
		gauge("balhost_outbox_slowed_targets", "Devices and topics that rest because their peer wants them slower.", func(s Stats) int { return s.Slowed }),
		gauge("balhost_outbox_halted_sessions", "Senders whose account is refused, so that nothing goes out for them.", func(s Stats) int { return s.Halted }),
		gauge("balhost_outbox_resting_sessions", "Senders that rest because their peer wants fewer messages.", func(s Stats) int { return s.Resting }),
	)
	return m
}
