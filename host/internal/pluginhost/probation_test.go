package pluginhost

import (
	"testing"
	"time"
)

func TestWorse(t *testing.T) {
	for _, c := range []struct {
		handled, failed uint64 // of the new one
		before, lost    uint64 // of the old one
		worse, late     bool   // while its time lasts, at its end
	}{
		{0, 0, 0, 0, false, false},
		{0, 19, 0, 0, false, true}, // too few events, while there is time
		{0, 4, 0, 0, false, false}, // too few failures
		{100, 4, 0, 0, false, false},
		{15, 5, 0, 0, true, true},   // 25 % over nothing
		{95, 5, 0, 0, false, false}, // 5 %: tolerated
		{94, 6, 0, 0, true, true},
		{850, 150, 9, 1, false, false}, // 15 % over 10 %
		{849, 151, 9, 1, true, true},
		{50, 50, 1, 99, false, false}, // better than before
	} {
		now, old := score{Results: Results{Handled: c.handled, Failed: c.failed}}, score{Results: Results{Handled: c.before, Failed: c.lost}}
		if reason := now.worse(old, enoughEvents); (reason != "") != c.worse {
			t.Errorf("%+v: %q", c, reason)
		}
		if reason := now.worse(old, 0); (reason != "") != c.late {
			t.Errorf("%+v at the end of its time: %q", c, reason)
		}
	}
}

// P9: a new version that was handed events and handled none is not proven by time.
func TestProbationWaitsForTheFirstHandled(t *testing.T) {
	for name, c := range map[string]struct {
		first, then Results
		reason      string // "": it is proven
	}{
		"hangs, then fails":   {Results{Holds: 40}, Results{Failed: 40}, "40 of its first 40 events failed (100 %), of the one's before it 0.0 %"},
		"fails now and then":  {Results{Failed: 3}, Results{Failed: 5}, "5 of its first 5 events failed (100 %), of the one's before it 0.0 %"},
		"is slow":             {Results{Holds: 40}, Results{Handled: 1, Holds: 39}, ""},
		"fails at first only": {Results{Failed: 4}, Results{Handled: 1, Failed: 4}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.host.limits.verdict = 10 * time.Millisecond
			b.probationary(100 * time.Millisecond)
			first := b.proven()
			second := b.put("echo", "another")
			b.mu.Lock()
			b.results[second] = c.first
			b.mu.Unlock()
			b.poll("the probation's time to be over", func() bool {
				s := b.status("echo")
				return s.SHA256 == second && !s.Probation.IsZero() && time.Since(s.Probation) > 100*time.Millisecond
			})
			b.mu.Lock()
			b.results[second] = c.then
			b.mu.Unlock()
			want := second
			if c.reason != "" {
				want = first.SHA256
			}
			var s Status
			b.poll("a verdict", func() bool {
				s = b.status("echo")
				return s.State == Running && s.SHA256 == want && s.Probation.IsZero()
			})
			if (s.Refusal != nil) != (c.reason != "") || s.Refusal != nil && s.Refusal.Reason != c.reason {
				t.Errorf("refusal %+v", s.Refusal)
			}
		})
	}
}

// P9: where the old version crashes all the time, a crash of the new one is no
// reason to go back to it; as many as the old one had are.
func TestCrashesLikeTheOldOne(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions {
		return PluginOptions{RestartMin: time.Millisecond, RestartMax: 2 * time.Millisecond, Probation: time.Hour}
	}
	first := b.proven()
	crash := func(sum string) {
		b.t.Helper()
		pid := b.status("echo").PID
		b.tell("echo", "kill")
		b.poll("it to run again", func() bool {
			s := b.status("echo")
			return s.State == Running && s.PID != pid && s.SHA256 == sum
		})
	}
	crash(first.SHA256)
	crash(first.SHA256)
	second := b.put("echo", "another")
	b.poll("the new one to serve", func() bool { s := b.status("echo"); return s.State == Running && s.SHA256 == second })
	crash(second)
	crash(second)
	if s := b.status("echo"); s.Refusal != nil || s.Probation.IsZero() {
		t.Errorf("after as many crashes as the old one had: %+v", s)
	}
	crash(first.SHA256)
	if s := b.status("echo"); s.Refusal == nil || s.Refusal.SHA256 != second {
		t.Errorf("after one more: %+v", s)
	}
}
