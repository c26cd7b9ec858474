package said

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A line is logged once per 30 s, and says how many were left out. Other lines are not
// kept back by it.
func TestLog(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	l := New(func() time.Time { return now })
	var got []string
	level := func(message string, pairs ...any) { got = append(got, message+" "+fmt.Sprintf("%v %v", pairs...)) }
	for i := range 65 {
		l.Log(level, "lost", "err", i)
		if i == 10 {
			l.Log(level, "slow", "err", "x")
		}
		now = now.Add(time.Second)
	}
	want := []string{"lost err 0", "slow err x", "lost err 30 (and 29 more of this kind since)", "lost err 60 (and 29 more of this kind since)"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
