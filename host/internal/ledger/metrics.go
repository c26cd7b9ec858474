package ledger

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the ledger's metrics, without labels. A nil one counts nothing.
type metrics struct {
	reg        prometheus.Registerer
	collectors []prometheus.Collector
	seconds    prometheus.Histogram
	ops        prometheus.Histogram
	freeBytes  prometheus.Gauge
	inodes     prometheus.Gauge
	usedBytes  prometheus.Gauge
}

func newMetrics(l *Ledger) (*metrics, error) {
	if l.o.Metrics == nil {
		return nil, nil
	}
	m := &metrics{
		reg: l.o.Metrics,
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "balhost_ledger_commit_seconds", Help: "How long a commit took, from the call to the end of the sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
		}),
		ops: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "balhost_ledger_commit_ops", Help: "Operations in one commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		freeBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "balhost_ledger_disk_free_bytes", Help: "Free bytes on the ledger's disk."}),
		inodes:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "balhost_ledger_disk_free_inodes", Help: "Free inodes on the ledger's disk."}),
		usedBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "balhost_ledger_disk_used_bytes", Help: "Bytes of disk that the ledger uses."}),
	}
	m.collectors = []prometheus.Collector{m.seconds, m.ops, m.freeBytes, m.inodes, m.usedBytes}
	gauge := func(name, help string, value func() float64) {
		m.collectors = append(m.collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("balhost_ledger_events_pending", "Events that wait for a plugin.", func() float64 { return float64(l.Counts().Events) })
	gauge("balhost_ledger_downstreams_pending", "Downstreams without an outcome.", func() float64 { return float64(l.Counts().Downstreams) })
	gauge("balhost_ledger_timers_waiting", "Timers of plugins that are not due yet.", func() float64 { return float64(l.Counts().Timers) })
	gauge("balhost_ledger_dead_letters", "Dead letters.", func() float64 { return float64(l.Counts().Dead) })
	if files, ok := l.journal.(interface{ Size() int64 }); ok {
		gauge("balhost_ledger_journal_bytes", "Bytes of the journal's files, those that are ready for the next commits included.", func() float64 { return float64(files.Size()) })
	}
	gauge("balhost_ledger_full", "1 while the disk is at its soft limit.", func() float64 {
		if l.Full() {
			return 1
		}
		return 0
	})
	gauge("balhost_ledger_stalled_seconds", "How long a commit has waited for the disk, from 5 s on.", func() float64 { return l.Stalled().Seconds() })
	gauge("balhost_ledger_alarms", "Signs of lost data found since the start.", func() float64 { return float64(len(l.Alarms())) })
	counter := func(name, help string, value func() uint64) {
		m.collectors = append(m.collectors, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	counter("balhost_ledger_accepted_total", "Upstreams and receipts stored.", func() uint64 { return l.Counts().Accepted })
	counter("balhost_ledger_duplicates_total", "Upstreams and receipts that were stored before.", func() uint64 { return l.Counts().Duplicates })
	counter("balhost_ledger_untold_total", "Outcomes and receipts that nobody was told, because their plugin was forgotten.", func() uint64 { return l.Counts().Untold })
	counter("balhost_ledger_sent_total", "Downstreams stored.", func() uint64 { return l.Counts().Sent })
	counter("balhost_ledger_handled_total", "Events handled.", func() uint64 { return l.Counts().Handled })
	counter("balhost_ledger_died_total", "Events that became dead letters.", func() uint64 { return l.Counts().Died })
	counter("balhost_ledger_searched_total", "Records that searches and lists of messages, dead letters and state have read.", l.searched.Load)
	counter("balhost_ledger_clock_steps_total", "How often the wall clock was set by more than 10 s while the host ran.", l.clock.set.Load)
	for i, c := range m.collectors {
		if err := m.reg.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) close() {
	if m == nil {
		return
	}
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}

func (m *metrics) commit(took time.Duration, ops int) {
	if m != nil {
		m.seconds.Observe(took.Seconds())
		m.ops.Observe(float64(ops))
	}
}

// diskUnknown removes the figures: no figure is better than an old one.
func (m *metrics) diskUnknown() {
	if m != nil {
		m.freeBytes.Set(math.NaN())
		m.inodes.Set(math.NaN())
	}
}

func (m *metrics) disk(free Space, used int64) {
	if m != nil {
		m.freeBytes.Set(float64(free.Bytes))
		m.inodes.Set(float64(free.Inodes))
		m.usedBytes.Set(float64(used))
	}
}
