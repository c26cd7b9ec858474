package fcmv1

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/backoff"
	"balhost/sdk/message"
)

func newTestHealth() *health {
	return newHealth(backoff.Policy{Min: time.Second, Max: time.Minute})
}

// Requests that fail for one cause make one pause. One pause may be of one connection
// alone; after more of them, one request at a time is tried.
func TestUnsentPauses(t *testing.T) {
	h, now := newTestHealth(), t0
	for range 100 {
		h.unsent(now, now.Add(time.Millisecond), "refused")
	}
	if n, wait := h.room(400, now.Add(time.Millisecond)); n != 0 || wait < time.Second || wait > 2*time.Second {
		t.Errorf("%d, %v", n, wait)
	}
	now = now.Add(3 * time.Second)
	if n, _ := h.room(400, now); n != 400 {
		t.Errorf("%d after the first pause", n)
	}
	for range 10 {
		h.unsent(now, now, "refused")
		now = now.Add(2 * time.Minute)
		if n, _ := h.room(400, now); n != 1 {
			t.Errorf("%d after more", n)
		}
	}
	h.well()
	if n, _ := h.room(400, now); n != 400 {
		t.Errorf("%d when all is well", n)
	}
}

// FCM's trouble is the session's only when several targets have it in a row.
func TestTroublePauses(t *testing.T) {
	target := func(i int) message.Target { return message.Token(fmt.Sprint(i)) }
	for _, c := range []struct {
		name    string
		targets []int
		well    int // after so many
		pauses  bool
	}{
		{"one target", []int{1, 1, 1, 1, 1, 1, 1, 1}, -1, false},
		{"few answers", []int{1, 2, 3, 4}, -1, false},
		{"several targets", []int{1, 2, 3, 1, 2}, -1, true},
		{"not in a row", []int{1, 2, 3, 4, 5, 6, 7}, 3, false},
	} {
		h := newTestHealth()
		for i, id := range c.targets {
			if i == c.well {
				h.well()
			}
			h.trouble(target(id), t0, t0, "503")
		}
		n, wait := h.room(400, t0)
		if (n == 0) != c.pauses || c.pauses && wait < 10*time.Second {
			t.Errorf("%s: %d, %v", c.name, n, wait)
		}
	}
}

// Three targets over their rate within 10 s are the project.
func TestOverRate(t *testing.T) {
	h := newTestHealth()
	for _, c := range []struct {
		id      string
		at      time.Duration
		project bool
	}{
		{"a", 0, false}, {"a", time.Second, false}, {"b", 2 * time.Second, false}, {"a", 3 * time.Second, false},
		{"c", 12500 * time.Millisecond, false}, {"d", 13 * time.Second, false}, {"e", 14 * time.Second, true}, {"e", time.Hour, false},
	} {
		if got := h.overRate(message.Topic(c.id), t0.Add(c.at)); got != c.project {
			t.Errorf("%s at %v: %v", c.id, c.at, got)
		}
	}
}

func TestAlarms(t *testing.T) {
	says := func(a *alarms, after time.Duration, want string) {
		t.Helper()
		got := strings.Join(a.warnings(t0.Add(after)), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	a := &alarms{}
	says(a, 0, "")
	for range 9 {
		a.note(stranger, false, "SenderId mismatch", t0)
	}
	says(a, 0, "")
	a.note(stranger, false, "SenderId mismatch", t0)
	says(a, 0, "10 of the last 10 answers say that the target belongs to another Firebase project")
	for range 11 {
		a.note(nothing, false, "", t0)
	}
	says(a, 0, "")
	a.note(badKey, false, "APNs answered 403 BadEnvironmentKeyInToken", t0)
	says(a, 59*time.Minute, "BadEnvironmentKeyInToken")
	says(a, 61*time.Minute, "")

	a = &alarms{}
	a.note(redirected, true, "HTTP 302", t0)
	says(a, 0, "redirects requests")
	a.note(trouble, true, "", t0.Add(30*time.Minute))
	says(a, 61*time.Minute, "taken nothing and refused nothing for 1h1m0s")
	a.note(nothing, false, "", t0.Add(62*time.Minute))
	says(a, 63*time.Minute, "")
}
