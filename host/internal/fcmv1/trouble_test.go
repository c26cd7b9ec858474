package fcmv1

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"
)

// The project's quota rests the session, and halves its rate once; another session goes
// on. Sheet G 3.
func TestProjectQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(atomic.Int64)
		resting, other := newBox(downstreams(100)...), newBox()
		full := wire(func(_ *http.Request, body string) (int, string) {
			time.Sleep(time.Millisecond)
			if !real(body) {
				return 200, accepted
			}
			return 429, fail("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric", perProject)
		})
		s := newSession(Options{Outbox: resting, Transport: full}, tokens(n))
		start(t, s)
		start(t, newSession(Options{Name: "other", Outbox: other, Transport: wire(func(*http.Request, string) (int, string) { return 200, accepted })}, tokens(new(atomic.Int64))))
		until(t, "the first answers", func() bool { return len(resting.answers()) > 0 })
		time.Sleep(time.Second)
		sent := len(resting.answers())
		if v := resting.verdicts(); v[flow.Rest] != sent || sent == 100 {
			t.Errorf("%v of 100", v)
		}
		other.put(downstreams(10)...)
		time.Sleep(50 * time.Second)
		if len(resting.answers()) != sent || len(other.answers()) != 10 {
			t.Errorf("%d and %d answers", len(resting.answers()), len(other.answers()))
		}
		st := s.Status()
		s.mu.Lock()
		most := s.pace.most
		s.mu.Unlock()
		if st.RestingUntil.IsZero() || most != 4000 {
			t.Errorf("rests until %v, then %v a second at most", st.RestingUntil, most)
		}
		time.Sleep(20 * time.Second)
		if len(resting.answers()) == sent {
			t.Error("it rests for more than a minute")
		}
	})
}

// A topic that is sent too much rests, and others go; three targets at once are the
// project. Sheet G 9; A6.
func TestTargetRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(downstreams(2)...)
		s := newSession(Options{Outbox: b, Transport: wire(func(_ *http.Request, body string) (int, string) {
			if !real(body) || strings.Contains(body, `"t:9`) {
				return 200, accepted
			}
			return 429, fail("RESOURCE_EXHAUSTED", "Topic quota exceeded.", fcmError("QUOTA_EXCEEDED"), violation)
		})}, tokens(new(atomic.Int64)))
		start(t, s)
		until(t, "two answers", func() bool { return len(b.answers()) == 2 })
		b.put(downstream(9), downstream(1))
		until(t, "four answers", func() bool { return len(b.answers()) == 4 })
		if v := b.verdicts(); v[flow.SlowDown] != 3 || v[flow.Acked] != 1 {
			t.Errorf("two targets: %v", v)
		}
		time.Sleep(11 * time.Second)
		b.put(downstreams(3)...)
		until(t, "seven answers", func() bool { return len(b.answers()) == 7 })
		if v := b.verdicts(); v[flow.SlowDown] != 5 || v[flow.Rest] != 1 {
			t.Errorf("three targets: %v", v)
		}
	})
}

// While nothing gets through, the session pauses; the outbox is not asked in vain, and
// no attempt is counted. Then all goes out.
func TestNothingGetsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(downstreams(500)...)
		var up atomic.Bool
		s := newSession(Options{Outbox: b, Rate: 1e6, Transport: trip(func(r *http.Request) (*http.Response, error) {
			if !up.Load() {
				return nil, errors.New("dial tcp 192.0.2.1:443: connection refused")
			}
			return reply2(r, 200, accepted), nil
		})}, tokens(new(atomic.Int64)))
		start(t, s)
		time.Sleep(time.Hour)
		down := b.verdicts()
		if down[flow.Resend] < 60 || down[flow.Resend] > 400*3+100 || len(down) != 1 {
			t.Errorf("in an hour: %v", down)
		}
		st := s.Status()
		if len(st.Unready) != 1 || !strings.Contains(st.Unready[0], "connection refused") || st.RestingUntil.IsZero() {
			t.Errorf("%+v", st)
		}
		if len(st.Warnings) == 0 {
			t.Error("no alarm after an hour")
		}
		up.Store(true)
		time.Sleep(time.Minute) // the longest pause
		until(t, "all are taken", func() bool { return b.verdicts()[flow.Acked] == 500 })
		if st := s.Status(); len(st.Unready) != 0 || len(st.Warnings) != 0 {
			t.Errorf("%q, %q", st.Unready, st.Warnings)
		}
	})
}

// A person who has mended the network need not wait.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(downstreams(1)...)
		var up atomic.Bool
		s := newSession(Options{Outbox: b, Transport: trip(func(r *http.Request) (*http.Response, error) {
			if !up.Load() {
				return nil, errors.New("no route to host")
			}
			return reply2(r, 200, accepted), nil
		})}, tokens(new(atomic.Int64)))
		start(t, s)
		time.Sleep(10 * time.Minute)
		for synctest.Wait(); s.Status().RestingUntil.IsZero(); synctest.Wait() {
			time.Sleep(time.Millisecond)
		}
		up.Store(true)
		began := time.Now()
		if !s.Hurry() {
			t.Error("nothing waited")
		}
		synctest.Wait()
		if b.verdicts()[flow.Acked] != 1 || time.Since(began) != 0 {
			t.Errorf("%v after %v", b.verdicts(), time.Since(began))
		}
	})
}

// FCM in trouble: each downstream is tried again after 10 s or more, and the session
// rests when that is so for several targets. Sheet A5, A6, G 11.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(downstreams(1000)...)
		var up atomic.Bool
		s := newSession(Options{Outbox: b, Transport: wire(func(_ *http.Request, body string) (int, string) {
			if !up.Load() && real(body) {
				return 503, fail("UNAVAILABLE", "x", fcmError("UNAVAILABLE"))
			}
			return 200, accepted
		})}, tokens(new(atomic.Int64)))
		start(t, s)
		time.Sleep(5 * time.Minute)
		for _, a := range b.answers() {
			if a.Verdict != flow.Retry || a.RetryAfter < 10*time.Second {
				t.Fatalf("%+v", a.Answer)
			}
		}
		if n := len(b.answers()); n < 5 || n > 200 {
			t.Errorf("%d attempts in 5 minutes", n)
		}
		up.Store(true)
		left := 1000 - len(b.answers())
		time.Sleep(time.Minute) // the longest pause
		until(t, "the rest is taken", func() bool { return b.verdicts()[flow.Acked] == left })
	})
}

// An account that is corrected is noticed within five minutes, or by a reload at once,
// although there is nothing to send.
func TestAccountIsCorrected(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var right atomic.Bool
			s := newSession(Options{Outbox: newBox(), Transport: wire(func(*http.Request, string) (int, string) {
				if !right.Load() {
					return 403, fail("PERMISSION_DENIED", "x", iam)
				}
				return 200, accepted
			})}, tokens(new(atomic.Int64)))
			start(t, s)
			time.Sleep(time.Minute)
			if st := s.Status(); len(st.Unready) != 1 || s.Stands() {
				t.Errorf("before: %q", st.Unready)
			}
			right.Store(true)
			if hurry {
				s.Hurry()
			} else {
				time.Sleep(recheck)
			}
			synctest.Wait()
			if st := s.Status(); len(st.Unready) != 0 || !s.Stands() {
				t.Errorf("after: %q", st.Unready)
			}
		})
	}
}
