package fcmv1

import (
	"math/rand/v2"
	"time"

	"balhost/host/internal/backoff"
	"balhost/sdk/message"
)

// health says whether requests get through. When they don't, the session pauses, so
// that the outbox is not asked in vain, and then tries with one request at a time.
// It is about the way to FCM and about FCM itself, never about one downstream.
type health struct {
	policy   backoff.Policy
	rnd      *rand.Rand
	failures int                          // pauses in a row
	careful  bool                         // after the pause, one request at a time
	until    time.Time                    // of the pause
	why      string                       // of the pause
	row      int                          // answers of FCM's own trouble in a row
	troubled map[message.Target]bool      // their targets
	rated    map[message.Target]time.Time // targets that were sent too much, and when
}

const (
	troubles       = 5 // answers of FCM's own trouble in a row until the session pauses
	troubleTargets = 3 // and of how many targets they are at least
	ratedTargets   = 3 // targets over their rate within ratedTime: it is the project's quota
	ratedTime      = 10 * time.Second
)

func newHealth(policy backoff.Policy) *health {
	return &health{policy: policy, rnd: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), troubled: map[message.Target]bool{}, rated: map[message.Target]time.Time{}}
}

// room is how many requests may be in flight, of limit; if none may, wait is until one may.
func (h *health) room(limit int, now time.Time) (n int, wait time.Duration) {
	switch {
	case now.Before(h.until):
		return 0, h.until.Sub(now)
	case h.careful:
		return 1, 0
	}
	return limit, 0
}

// unsent notes that a request that began at began did not get out. Requests that failed
// for one cause make one pause.
func (h *health) unsent(began, now time.Time, why string) {
	h.pause(began, now, h.policy, why)
	h.careful = h.failures > 1 // once may be one connection of several
}

// trouble notes that FCM is in trouble itself: several such answers in a row about
// different targets make a pause.
func (h *health) trouble(target message.Target, began, now time.Time, why string) {
	h.row++
	if len(h.troubled) < troubleTargets {
		h.troubled[target] = true
	}
	if h.row >= troubles && len(h.troubled) >= troubleTargets {
		long := h.policy
		long.Min = max(long.Min, leastRetry)
		long.Max = max(long.Max, long.Min)
		h.pause(began, now, long, why)
		h.careful = true
	}
}

func (h *health) pause(began, now time.Time, policy backoff.Policy, why string) {
	if began.Before(h.until) || now.Before(h.until) { // of the same cause
		return
	}
	h.failures++
	h.until = now.Add(policy.DelayAtLeast(h.failures-1, h.rnd))
	h.why = why
}

// well notes an answer by which FCM serves.
func (h *health) well() {
	h.failures, h.row, h.careful = 0, 0, false
	clear(h.troubled)
}

// hurry ends the pause.
func (h *health) hurry(now time.Time) (paused bool) {
	paused = now.Before(h.until)
	h.until = time.Time{}
	return paused
}

// overRate notes that a target is sent too much. When that is said of several within a
// few seconds, it is the project that sends too much.
func (h *health) overRate(target message.Target, now time.Time) (project bool) {
	for other, at := range h.rated {
		if now.Sub(at) >= ratedTime {
			delete(h.rated, other)
		}
	}
	h.rated[target] = now
	return len(h.rated) >= ratedTargets
}
