package dispatch

import (
	"fmt"
	"testing"
	"time"
)

// A reason is logged once in a while, and another one at once; but not any number of them.
func TestReasons(t *testing.T) {
	var r reasons
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		reason string
		after  time.Duration
		news   bool
	}{
		{"no database", 0, true},
		{"no database", time.Second, false},
		{"TypeError", time.Second, true}, // the author has just made this mistake
		{"no database", time.Second, false},
		{"TypeError", reasonEvery - 3*time.Second, false},
		{"no database", 2 * time.Second, true},
	} {
		if now = now.Add(c.after); r.news(c.reason, now) != c.news {
			t.Errorf("%d: %q is news: %v, want %v", i, c.reason, !c.news, c.news)
		}
	}
	now = now.Add(time.Hour)
	said := 0
	for i := range 1000 {
		if r.news(fmt.Sprint("order ", i), now) {
			said++
		}
	}
	if said != mostReasons || len(r) != mostReasons {
		t.Errorf("%d lines of 1,000 reasons, %d kept; want %d", said, len(r), mostReasons)
	}
}
