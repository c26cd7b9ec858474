package ccssim

import "testing"

// BenchmarkCeiling is the load at full speed. Both ends are in this process, over
// TLS, with upstreams of 300 bytes and a window of 100.
func BenchmarkCeiling(b *testing.B) {
	rate, err := Ceiling(b.Context(), CeilingOptions{Messages: b.N, Size: 300})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(rate, "upstreams/s")
}
