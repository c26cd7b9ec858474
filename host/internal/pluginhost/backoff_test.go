package pluginhost

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A crash loop is tried again after 1 to 60 s, with jitter, for ever; a process
// that was well for five minutes begins it anew.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{})
		s := newSupervisor(h, "echo", h.options("echo"), func() {})
		crash := func(lived time.Duration) time.Duration {
			s.failed(&life{ready: time.Now().Add(-lived)}, errors.New("out of luck"))
			return time.Until(s.retry)
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
	})
}
