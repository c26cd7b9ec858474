package fcmv1

import (
	"balhost/host/internal/flow"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a session's, each with the constant label session: its name in config.hcl.
type metrics struct {
	answer  prometheus.Histogram
	answers *prometheus.CounterVec
}

// codes are the values of the label code; all others are "other".
var codes = map[string]bool{
	unregistered: true, "INVALID_ARGUMENT": true, "SENDER_ID_MISMATCH": true, "THIRD_PARTY_AUTH_ERROR": true, "QUOTA_EXCEEDED": true,
	"INTERNAL": true, "UNAVAILABLE": true, "UNSPECIFIED_ERROR": true, rateLimit: true, "ACCESS_TOKEN_EXPIRED": true, "IAM_PERMISSION_DENIED": true,
	"SERVICE_DISABLED": true, CodeNoAnswer: true, CodeUnsupported: true, codeUnsent: true,
}

// newMetrics registers them.
func newMetrics(reg prometheus.Registerer, s *Session) *metrics {
	label := prometheus.Labels{"session": s.o.Name}
	m := &metrics{
		answer: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "balhost_fcm_v1_answer_seconds", Help: "From posting a message to the end of FCM's answer; the check of the account is one too.", ConstLabels: label,
			Buckets: []float64{.001, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10, 30},
		}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "balhost_fcm_v1_answers_total", Help: "What became of each attempt to send a downstream.", ConstLabels: label,
		}, []string{"code"}), // label code: accepted, those of codes, and other
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.answer, m.answers)
	gauge := func(name, help string, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: label}, value))
	}
	counter := func(name, help string, labels prometheus.Labels, value func() uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value()) }))
	}
	result := func(value string) prometheus.Labels {
		return prometheus.Labels{"session": s.o.Name, "result": value}
	}
	gauge("balhost_fcm_v1_inflight", "Downstreams that FCM has not answered.", func() float64 { return float64(s.Status().InFlight) })
	gauge("balhost_fcm_v1_connections", "Connections to FCM.", func() float64 { return float64(s.links.open.Load()) })
	gauge("balhost_fcm_v1_rate", "Downstreams that may go out in a second now.", func() float64 { return s.Status().Rate })
	counter("balhost_fcm_v1_dials_total", "Connections to FCM that were begun.", label, s.links.dialled.Load)
	counter("balhost_fcm_v1_ambiguous_total", "Attempts without an answer: FCM may have taken the downstream, and gets it again.", label, s.counts.ambiguous.Load)
	counter("balhost_fcm_v1_odd_total", "Downstreams that FCM took with an answer of an unknown form.", label, s.counts.odd.Load)
	counter("balhost_fcm_v1_token_fetches_total", "Access tokens that were asked for.", result("ok"), func() uint64 { // label result: ok, failed
		fetches, _ := s.bearer.counts()
		return uint64(fetches)
	})
	counter("balhost_fcm_v1_token_fetches_total", "Access tokens that were asked for.", result("failed"), func() uint64 {
		_, misses := s.bearer.counts()
		return uint64(misses)
	})
	return m
}

// count counts what became of an attempt.
func (s *Session) count(j judgement) {
	code := j.Code
	switch {
	case j.Verdict == flow.Acked:
		code = "accepted"
		s.counts.acked.Add(1)
		if j.odd {
			s.counts.odd.Add(1)
		}
	case !codes[code]:
		code = "other"
	}
	if j.Verdict == flow.Fail {
		s.counts.refused.Add(1)
	}
	if j.sign == ambiguous {
		s.counts.ambiguous.Add(1)
	}
	if j.sign != unsent && j.sign != unsupported {
		s.counts.sent.Add(1)
	}
	s.metrics.answers.WithLabelValues(code).Inc()
}
