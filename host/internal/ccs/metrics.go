package ccs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a session's, each with the constant label session: its name in config.hcl.
type metrics struct {
	ack, answer prometheus.Histogram
}

// newMetrics registers them. All but the histograms read the session's own counts.
func newMetrics(reg prometheus.Registerer, s *Session) *metrics {
	label := prometheus.Labels{"session": s.o.Name}
	m := &metrics{ack: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "balhost_ccs_ack_seconds", Help: "From reading an upstream to writing its ack.", ConstLabels: label,
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10},
	}), answer: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "balhost_ccs_answer_seconds", Help: "From writing a downstream to CCS's ack, nack or stanza error.", ConstLabels: label,
		Buckets: []float64{.001, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10, 60},
	})}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.ack, m.answer)
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	counter := func(name, help string, labels prometheus.Labels, value func() uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	with := func(name, value string) prometheus.Labels {
		return prometheus.Labels{"session": s.o.Name, name: value}
	}
	for _, state := range []State{Waiting, Dialing, Opening, Ready, Draining} { // label state
		gauge("balhost_ccs_state", "Connections in each state.", with("state", string(state)), func() float64 {
			return s.sum(func(c Connection) int {
				if c.State == state {
					return 1
				}
				return 0
			})
		})
	}
	gauge("balhost_ccs_inflight", "Downstreams that CCS has not answered.", label,
		func() float64 { return s.sum(func(c Connection) int { return c.InFlight }) })
	gauge("balhost_ccs_unacked", "Upstreams that were read and are not acked.", label,
		func() float64 { return s.sum(func(c Connection) int { return c.Unacked + c.Unackable }) })
	gauge("balhost_ccs_unackable", "Of these, upstreams that can't be acked: at 100 on a connection CCS sends no more.", label,
		func() float64 { return s.sum(func(c Connection) int { return c.Unackable }) })
	gauge("balhost_ccs_contested", "1 while another client of the sender and this one push each other's connections off.", label, func() float64 {
		if s.Status().Contest.Lasts(time.Now()) {
			return 1
		}
		return 0
	})
	counter("balhost_ccs_upstreams_total", "Upstreams and receipts read, repeats included.", label, s.counts.upstreams.Load)
	counter("balhost_ccs_upstreams_acked_total", "Upstreams and receipts stored and acked.", label, s.counts.upstreamsAcked.Load)
	counter("balhost_ccs_downstreams_total", "Downstreams written, repeats included.", label, s.counts.downstreams.Load)
	counter("balhost_ccs_answers_total", "CCS's answers to downstreams.", with("answer", "ack"), s.counts.acked.Load) // label answer: ack, nack
	counter("balhost_ccs_answers_total", "CCS's answers to downstreams.", with("answer", "nack"), s.counts.nacked.Load)
	for k := range oddities { // label kind: as oddity.String
		counter("balhost_ccs_odd_total", "What CCS should not have sent.", with("kind", k.String()), s.counts.odd[k].Load)
	}
	return m
}

func (s *Session) sum(of func(Connection) int) float64 {
	n := 0
	for _, c := range s.Status().Connections {
		n += of(c)
	}
	return float64(n)
}
