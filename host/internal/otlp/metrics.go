package otlp

import "github.com/prometheus/client_golang/prometheus"

// What became of spans: the label result.
const (
	resultExported = "exported" // the collector has them
	resultFailed   = "failed"   // the collector did not take them
	resultDropped  = "dropped"  // too many waited
)

func newMetrics(to prometheus.Registerer) *prometheus.CounterVec {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "balhost_tracing_spans_total", Help: "Spans of traces, by what became of them: exported, failed (the collector did not take them) or dropped (too many waited).",
	}, []string{"result"})
	for _, result := range []string{resultExported, resultFailed, resultDropped} {
		spans.WithLabelValues(result)
	}
	if to != nil {
		to.MustRegister(spans)
	}
	return spans
}
