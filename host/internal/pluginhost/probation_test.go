package pluginhost

import (
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// P9: a new version that was handed events and handled none is not proven by time.
func TestProbationWaitsForTheFirstHandled(t *testing.T) {
	for name, c := range map[string]struct {
		first, then entry.Results
		reason      string // "": it is proven
	}{
		"hangs, then fails":   {entry.Results{Holds: 40}, entry.Results{Failed: 40}, "40 of its first 40 attempts failed (100 %), of the one's before it 0.0 %"},
		"fails now and then":  {entry.Results{Failed: 3}, entry.Results{Failed: 5}, "5 of its first 5 attempts failed (100 %), of the one's before it 0.0 %"},
		"is slow":             {entry.Results{Holds: 40}, entry.Results{Handled: 1, Holds: 39}, ""},
		"fails at first only": {entry.Results{Failed: 4}, entry.Results{Handled: 1, Failed: 4}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.host.limits.Verdict = 10 * time.Millisecond
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

// P9: a version with a handler that hangs is not proven, and the old one comes
// back for it, unless its handlers hung as well.
func TestProbationWaitsForHandlers(t *testing.T) {
	before := time.Unix(1, 0)
	for name, c := range map[string]struct {
		old, first, then entry.Results
		reason           string // "": it is proven
		waits            bool   // neither
	}{
		"hangs":                             {entry.Results{Handled: 9}, entry.Results{Handled: 9, Holds: 1, Oldest: before}, entry.Results{Handled: 9, Holds: 1, Oldest: before, Stuck: 1}, "hung: 1 of its handlers went on after their time was up, of the one's before it 0", false},
		"is slow":                           {entry.Results{Handled: 9}, entry.Results{Handled: 9, Holds: 1, Oldest: before}, entry.Results{Handled: 10}, "", false},
		"hangs where the old one was ended": {entry.Results{Handled: 9}, entry.Results{Handled: 9, Holds: 1, Oldest: before}, entry.Results{Handled: 9, Holds: 1, Oldest: before, Stuck: 1, Ended: 1}, "", true},
		"hangs elsewhere, too":              {entry.Results{Handled: 9}, entry.Results{Handled: 9, Holds: 1, Oldest: before}, entry.Results{Handled: 9, Holds: 2, Oldest: before, Stuck: 2, Ended: 1}, "hung: 1 of its handlers went on after their time was up, of the one's before it 0", false},
		"hangs as before":                   {entry.Results{Holds: 1, Stuck: 1}, entry.Results{Handled: 9, Holds: 1, Oldest: before}, entry.Results{Handled: 9, Holds: 1, Oldest: before, Stuck: 1}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.host.limits.Verdict = 10 * time.Millisecond
			b.probationary(100 * time.Millisecond)
			first := b.proven()
			b.mu.Lock()
			b.results[first.SHA256] = c.old
			b.mu.Unlock()
			second := b.put("echo", "another")
			b.mu.Lock()
			b.results[second] = c.first
			b.mu.Unlock()
			late := func() bool {
				s := b.status("echo")
				return s.SHA256 == second && !s.Probation.IsZero() && time.Since(s.Probation) > 100*time.Millisecond
			}
			b.poll("the probation's time to be over", late)
			b.mu.Lock()
			b.results[second] = c.then
			b.mu.Unlock()
			if c.waits {
				time.Sleep(200 * time.Millisecond) // if that is too short, the test says less
				if s := b.status("echo"); !late() || s.Refusal != nil {
					t.Errorf("%+v", s)
				}
				return
			}
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

// What a plugin tells of its Run stands in its status, as long as its process does.
func TestRunFailures(t *testing.T) {
	b := newBench(t)
	b.probationary(time.Millisecond)
	b.proven()
	if s := b.status("echo"); s.RunFailure != nil || failing(s.RunFailure, time.Now()) {
		t.Errorf("before: %+v", s.RunFailure)
	}
	b.tell("echo", "run-fails")
	b.poll("the failure", func() bool { return b.status("echo").RunFailure != nil })
	f := b.status("echo").RunFailure
	if f.Failures != 7 || f.Error != "no feed" || !f.Failing || time.Until(f.Next) > 5*time.Second {
		t.Errorf("%+v", f)
	}
	for after, fails := range map[time.Duration]bool{time.Minute: true, 2 * time.Minute: false} {
		if failing(f, f.At.Add(after)) != fails {
			t.Errorf("%s later it fails: %v", after, !fails)
		}
	}
	b.put("echo", "another")
	b.poll("another process", func() bool { return b.status("echo").RunFailure == nil })
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

// P9: what is not known of a new version proves nothing. It stays on probation
// until its results are told, whatever the old one's were.
func TestUnknownResultsProveNothing(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions {
		return PluginOptions{Probation: time.Millisecond, RestartMin: time.Millisecond}
	}
	b.host.limits.Verdict = time.Millisecond
	first := b.proven()
	b.mu.Lock()
	b.results[first.SHA256] = entry.Results{Handled: 1000}
	b.mu.Unlock()
	b.poll("the old one to be proven", func() bool { return b.status("echo").Probation.IsZero() })
	b.mu.Lock()
	b.mute, b.asked = true, 0
	b.mu.Unlock()
	second := b.put("echo", "another")
	b.poll("several looks", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.asked > 10
	})
	if s := b.status("echo"); s.SHA256 != second || s.Probation.IsZero() {
		t.Errorf("%+v", s)
	}
	b.mu.Lock()
	b.mute, b.results[second] = false, entry.Results{Handled: 1}
	b.mu.Unlock()
	b.poll("it to be proven", func() bool { return b.status("echo").Probation.IsZero() })
}
