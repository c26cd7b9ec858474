package policy

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// A crash loop is tried again after 1 to 60 s, with jitter, for ever; a process
// that was well for five minutes begins it anew.
func TestBackoff(t *testing.T) {
	now := time.Unix(1e9, 0)
	o := Options{RestartMin: time.Second, RestartMax: time.Minute}
	p := New("echo", o, Record{}, Times{Healthy: 5 * time.Minute}, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	crash := func(lived time.Duration) time.Duration {
		r := &Process{Role: Serving, ready: now.Add(-lived)}
		p.processes = []*Process{r}
		p.Ended(Facts{Now: now}, r, Failure{Err: errors.New("out of luck"), Started: true})
		return p.Decide(Facts{Now: now}).Retry.Sub(now)
	}
	least, most := time.Second, 2*time.Second
	for n := range 6 {
		if delay := crash(time.Second); delay < least || delay > most {
			t.Errorf("crash %d is answered after %v, want %v to %v", n+1, delay, least, most)
		}
		most = min(2*most, time.Minute)
		least = most / 2
	}
	delays := map[time.Duration]bool{}
	for range 1000 {
		delay := crash(4 * time.Minute)
		if delay < 30*time.Second || delay > time.Minute {
			t.Fatalf("a crash after many is answered after %v", delay)
		}
		delays[delay] = true
	}
	if len(delays) < 900 {
		t.Errorf("1000 delays have %d values: no jitter", len(delays))
	}
	if delay := crash(5 * time.Minute); delay > 2*time.Second {
		t.Errorf("the first crash after five good minutes is answered after %v", delay)
	}
}
