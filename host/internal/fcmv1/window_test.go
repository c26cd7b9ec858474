package fcmv1

import (
	"testing"
	"time"
)

func TestWindowSize(t *testing.T) { // P3
	w := newWindow(4)
	now := t0
	at := func(d time.Duration, crowded uint64, want int) {
		t.Helper()
		now = now.Add(d)
		if got := w.size(crowded, now); got != want {
			t.Errorf("%d may be in flight, want %d", got, want)
		}
	}
	at(0, 0, 400)
	at(0, 3, 200)                    // however many dials there were since the last look
	at(999*time.Millisecond, 9, 200) // of the same cause
	at(time.Second, 10, 100)
	for crowded := range uint64(9) {
		at(time.Second, 11+crowded, 4*max(1, 12>>crowded))
	}
	at(9*time.Second, 19, 4)
	at(time.Second, 19, 8)
	for range 100 {
		now = now.Add(regrow)
		w.size(19, now)
	}
	at(0, 19, 400)
	w.spoke(1)
	at(time.Hour, 19, 4)
	w.spoke(2)
	at(0, 19, 400)
	at(0, 20, 200)
	w.spoke(2) // says nothing new
	at(0, 20, 200)
}
