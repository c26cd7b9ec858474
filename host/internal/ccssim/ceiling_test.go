package ccssim

import "testing"

// BenchmarkCeiling is the load generator at full speed: both ends in this
// process, over TLS, 300-byte upstreams, a window of 100.
func BenchmarkCeiling(b *testing.B) {
	r, err := Ceiling(b.Context(), CeilingOptions{Messages: b.N, Size: 300})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(r.PerSecond, "upstreams/s")
}
