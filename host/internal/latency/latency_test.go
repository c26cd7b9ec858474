package latency

import (
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var h Histogram
	for i := range 1000 {
		h.Add(time.Duration(i+1) * 100 * time.Microsecond)
	}
	h.Add(time.Hour)
	got := h.Summary()
	near := func(name string, got, want time.Duration) {
		if got < want || got > want*33/32+1 {
			t.Errorf("%s is %v, want %v to %v", name, got, want, want*33/32)
		}
	}
	near("p50", got.P50, 50*time.Millisecond)
	near("p99", got.P99, 99*time.Millisecond)
	if got.Max != time.Hour || got.Count != 1001 {
		t.Errorf("max %v of %d", got.Max, got.Count)
	}
	h.Reset()
	h.Add(-1)
	if got := h.Summary(); got != (Summary{Count: 1}) {
		t.Errorf("after Reset and nothing measurable: %+v", got)
	}
}

// Every duration lies in its bucket, at most up to the upper edge, and not far from it.
func TestBuckets(t *testing.T) {
	var h Histogram
	for d := time.Duration(0); d < 1<<62; d = d*17/16 + 1 {
		i := bucketOf(uint64(d))
		if u := edgeOf(i); u < d || u > d+d/32+1 {
			t.Fatalf("%v is in the bucket up to %v", d, u)
		}
		if i > 0 && edgeOf(i-1) >= d {
			t.Fatalf("%v lies in the bucket before %d, too", d, i)
		}
		if i >= len(h.all.buckets) {
			t.Fatalf("%v is in bucket %d of %d", d, i, len(h.all.buckets))
		}
		if d > 1<<57 { // d*17 would not fit
			break
		}
	}
	h.Add(1<<63 - 1)
	if got := h.Summary(); got.Max != 1<<63-1 || got.P50 != 1<<63-1 {
		t.Errorf("the longest duration: %+v", got)
	}
}

func TestEveryMicrosecond(t *testing.T) {
	var h Histogram
	for i := range 10_000 {
		h.Add(time.Duration(i) * time.Microsecond)
	}
	l := h.Summary()
	for _, tt := range []struct{ got, want time.Duration }{
		{l.P50, 5 * time.Millisecond}, {l.P99, 9900 * time.Microsecond}, {l.Max, 9999 * time.Microsecond},
	} {
		if tt.got < tt.want || tt.got > tt.want+tt.want/32 {
			t.Errorf("got %v, want %v and at most a 32th more", tt.got, tt.want)
		}
	}
	for v := range uint64(5000) {
		if i := bucketOf(v); uint64(edgeOf(i)) < v || i > 0 && uint64(edgeOf(i-1)) >= v {
			t.Fatalf("%d is in bucket %d, which ends at %d", v, i, edgeOf(i))
		}
	}
}

// TestRecent: what is summed up is never older than twice the span, and all of the last span.
func TestRecent(t *testing.T) {
	r := Recent{Span: time.Minute}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for at := range 600 { // one a second; each is as long as its second, so that sums tell which are in
		now := start.Add(time.Duration(at) * time.Second)
		r.Add(now, time.Duration(at)*time.Second)
		got := r.Summary(now)
		if got.Count < uint64(min(at+1, 60)) || got.Count > 120 || got.Max != time.Duration(at)*time.Second {
			t.Fatalf("after %d s: %+v", at, got)
		}
		if oldest := time.Duration(at-120) * time.Second; at > 120 && got.P50 <= oldest {
			t.Fatalf("after %d s the median is %v, older than all that is recent", at, got.P50)
		}
	}
	if got := r.Summary(start.Add(658 * time.Second)); got.Count == 0 { // 599 was the last
		t.Error("what is a minute old is forgotten")
	}
	if got := r.Summary(start.Add(720 * time.Second)); got != (Summary{}) {
		t.Errorf("two minutes later it says %+v", got)
	}
}
