package dispatch

import (
	"math"
	"testing"
	"time"
)

func TestRateFollows(t *testing.T) {
	p, now := &plugin{handled: 1000}, time.Unix(100, 0)
	p.measure(now) // what was handled before is nobody's rate
	if p.rate != 0 {
		t.Errorf("at first %.1f/s", p.rate)
	}
	for range 20 {
		p.handled += 100
		now = now.Add(2 * time.Second) // ticks may be late
		p.measure(now)
	}
	if math.Abs(p.rate-50) > 0.1 {
		t.Errorf("after 40 s at 50/s: %.1f/s", p.rate)
	}
	for range 20 {
		now = now.Add(time.Second)
		p.measure(now)
	}
	if p.rate > 0.1 {
		t.Errorf("after 20 idle seconds: %.1f/s", p.rate)
	}
}
