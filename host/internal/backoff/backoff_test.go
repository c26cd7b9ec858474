package backoff

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestDelayBounds(t *testing.T) {
	p := Policy{Min: time.Second, Max: 5 * time.Minute}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		n                  int
		most, least, floor time.Duration // most of Delay; least and floor: bounds of DelayAtLeast
	}{
		{-1, time.Second, time.Second, 2 * time.Second},
		{0, time.Second, time.Second, 2 * time.Second},
		{1, time.Second, time.Second, 2 * time.Second},
		{2, 2 * time.Second, 2 * time.Second, 4 * time.Second},
		{9, 256 * time.Second, 150 * time.Second, 5 * time.Minute},
		{10, 5 * time.Minute, 150 * time.Second, 5 * time.Minute},
		{1000, 5 * time.Minute, 150 * time.Second, 5 * time.Minute},
		{math.MaxInt, 5 * time.Minute, 150 * time.Second, 5 * time.Minute},
	} {
		var high, low time.Duration = 0, math.MaxInt64
		for range 2000 {
			d, f := p.Delay(c.n, rnd), p.DelayAtLeast(c.n, rnd)
			high, low = max(high, d), min(low, d)
			if d < 0 || d > c.most {
				t.Fatalf("Delay(%d) = %v, want 0 to %v", c.n, d, c.most)
			}
			if f < c.least || f > c.floor {
				t.Fatalf("DelayAtLeast(%d) = %v, want %v to %v", c.n, f, c.least, c.floor)
			}
		}
		// Full jitter fills its range; a fixed part would show here.
		if low > c.most/10 || high < c.most*9/10 {
			t.Errorf("Delay(%d) stays within %v to %v of %v", c.n, low, high, c.most)
		}
	}
}

func TestDelayOfOddPolicies(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, p := range []Policy{{}, {Min: time.Second, Max: time.Second}, {Min: time.Hour, Max: math.MaxInt64}, {Min: time.Minute, Max: time.Second}} {
		for n := range 100 {
			if d := p.Delay(n, rnd); d < 0 || d > p.Max {
				t.Errorf("%+v: Delay(%d) = %v", p, n, d)
			}
			if d := p.DelayAtLeast(n, rnd); d < p.Min || d > max(p.Min, p.Max) {
				t.Errorf("%+v: DelayAtLeast(%d) = %v", p, n, d)
			}
		}
	}
}
