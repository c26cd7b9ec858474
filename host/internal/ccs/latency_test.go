package ccs

import (
	"testing"
	"time"
)

func TestLatencyQuantiles(t *testing.T) {
	var l latency
	for i := range 1000 {
		l.add(time.Duration(i+1) * 100 * time.Microsecond)
	}
	l.add(time.Hour)
	got := l.sum()
	near := func(name string, got, want time.Duration) {
		if got < want || got > want*9/8+time.Microsecond {
			t.Errorf("%s is %v, want %v to %v", name, got, want, want*9/8)
		}
	}
	near("p50", got.P50, 50*time.Millisecond)
	near("p99", got.P99, 99*time.Millisecond)
	if got.Max != time.Hour || got.Count != 1001 {
		t.Errorf("max %v of %d", got.Max, got.Count)
	}
}

// Every duration lies a little below the upper end of its bucket.
func TestLatencyBuckets(t *testing.T) {
	for us := int64(0); us < 1<<36; us = us*17/16 + 1 {
		d := time.Duration(us) * time.Microsecond
		if u := upper(bucket(d)); u <= d || u > d*9/8+time.Microsecond {
			t.Fatalf("%v is in the bucket up to %v", d, u)
		}
	}
	if i := bucket(1 << 62); i != 8*41-1 {
		t.Errorf("bucket %d", i)
	}
}
