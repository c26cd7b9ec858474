package fcmv1

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"
)

// real leaves out the session's own question about its account.
func real(body string) bool { return !strings.Contains(body, "balhost-check") }

// Each downstream goes out once, and its answer comes back to it.
func TestSends(t *testing.T) { // P4
	synctest.Test(t, func(t *testing.T) {
		b, n := newBox(downstreams(50)...), new(atomic.Int64)
		var mu sync.Mutex
		sent := map[string]int{}
		s := newSession(Options{Outbox: b, Transport: wire(func(r *http.Request, body string) (int, string) {
			mu.Lock()
			defer mu.Unlock()
			sent[body]++
			if r.URL.String() != "https://fcm.googleapis.com/v1/projects/482915730064/messages:send" || r.Method != "POST" || r.Header.Get("Authorization") != "Bearer 1" ||
				r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Idempotency-Key") != "" {
				t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
			}
			if strings.Contains(body, `"t:7"`) {
				return 404, fail("NOT_FOUND", "x", fcmError("UNREGISTERED"))
			}
			return 200, accepted
		})}, tokens(n))
		stop := start(t, s)
		until(t, "all answers", func() bool { return len(b.answers()) == 50 })
		stop()
		for _, a := range b.answers() {
			if a.Gone != (a.seq == 7) || (a.Verdict == flow.Acked) == (a.seq == 7) {
				t.Errorf("%d: %+v", a.seq, a.Answer)
			}
		}
		if len(sent) < 50 || len(sent) > 51 || n.Load() != 1 { // perhaps with the question about the account
			t.Errorf("%d bodies, %d tokens", len(sent), n.Load())
		}
		if once := slices.Compact(slices.Sorted(slices.Values(b.takes))); len(once) != len(b.takes) {
			t.Errorf("two takes are of one connection: %v", b.takes)
		}
		st := s.Status()
		if st.Acked != 49 || st.Refused != 1 || st.InFlight != 0 || st.Downstreams != 50 {
			t.Errorf("%+v", st)
		}
	})
}

// Never more are in flight than connections carry.
func TestWindow(t *testing.T) { // P3
	for major, total := range map[int]int{2: 2000, 1: 500} {
		synctest.Test(t, func(t *testing.T) {
			b, n := newBox(downstreams(total)...), new(atomic.Int64)
			var now, most atomic.Int64
			s := newSession(Options{Outbox: b, Connections: 2, Rate: 1e6, Transport: trip(func(r *http.Request) (*http.Response, error) {
				if c := now.Add(1); c > most.Load() && s1(b) {
					most.Store(c)
				}
				time.Sleep(50 * time.Millisecond)
				now.Add(-1)
				response := reply2(r, 200, accepted)
				response.ProtoMajor = major
				return response, nil
			})}, tokens(n))
			start(t, s)
			until(t, "all answers", func() bool { return len(b.answers()) == total })
			if want := int64(map[int]int{2: 200, 1: 2}[major]); most.Load() != want {
				t.Errorf("HTTP/%d: %d in flight, want %d", major, most.Load(), want)
			}
		})
	}
}

// s1 reports whether the first answers have come, by which the version of HTTP is known.
func s1(b *box) bool { return len(b.answers()) > 250 }

// A 401 in mid-flight: one token is fetched for all, each downstream goes again at once,
// and no attempt is counted. Sheet G 5.
func TestTokenThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBox(), new(atomic.Int64)
		var old atomic.Bool
		s := newSession(Options{Outbox: b, Rate: 1e6, Transport: wire(func(r *http.Request, body string) (int, string) {
			time.Sleep(50 * time.Millisecond)
			if old.Load() && r.Header.Get("Authorization") == "Bearer 1" {
				return 401, fail("UNAUTHENTICATED", "x", expired)
			}
			return 200, accepted
		})}, tokens(n))
		start(t, s)
		time.Sleep(time.Minute)
		old.Store(true)
		b.put(downstreams(100)...)
		until(t, "all answers", func() bool { return len(b.answers()) == 100 })
		if v := b.verdicts(); v[flow.Acked] != 100 || n.Load() != 2 {
			t.Errorf("%v with %d tokens", v, n.Load())
		}
	})
}

// When FCM takes no new token either, the account is at fault: each downstream is tried
// twice at most. A later one gets another new token.
func TestEveryTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBox(downstreams(10)...), new(atomic.Int64)
		var posts atomic.Int64
		s := newSession(Options{Outbox: b, Transport: wire(func(_ *http.Request, body string) (int, string) {
			if real(body) {
				posts.Add(1)
			}
			return 401, html
		})}, tokens(n))
		start(t, s)
		until(t, "all answers", func() bool { return len(b.answers()) == 10 })
		for _, a := range b.answers() {
			if a.Verdict != flow.Halt || !strings.Contains(a.Description, "clock") {
				t.Errorf("%+v", a.Answer)
			}
		}
		if posts.Load() > 20 {
			t.Errorf("%d posts for 10 downstreams", posts.Load())
		}
		if st := s.Status(); len(st.Unready) == 0 || !st.AccountRefused || s.Stands() {
			t.Errorf("%+v", st)
		}
	})
}

// Apple's key is wrong in the console: Apple's messages fail with Apple's reason, the
// others flow, and no token is fetched. Sheet G 4.
func TestAppleKeyIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBox(downstreams(20)...), new(atomic.Int64)
		s := newSession(Options{Outbox: b, Transport: wire(func(_ *http.Request, body string) (int, string) {
			if strings.Contains(body, `"t:1`) {
				return 401, fail("UNAUTHENTICATED", "Expected OAuth 2 access token", apnsKey, fcmError("THIRD_PARTY_AUTH_ERROR"))
			}
			return 200, accepted
		})}, tokens(n))
		start(t, s)
		until(t, "all answers", func() bool { return len(b.answers()) == 20 })
		if v := b.verdicts(); v[flow.Fail] != 11 || v[flow.Acked] != 9 || n.Load() != 1 {
			t.Errorf("%v with %d tokens", v, n.Load())
		}
		st := s.Status()
		if len(st.Warnings) != 1 || !strings.Contains(st.Warnings[0], "InvalidProviderToken") || len(st.Unready) != 0 {
			t.Errorf("%q, %q", st.Warnings, st.Unready)
		}
		time.Sleep(2 * time.Hour)
		if st := s.Status(); len(st.Warnings) != 0 {
			t.Errorf("hours later: %q", st.Warnings)
		}
	})
}

// A wrong project makes no target gone, and the status says what to look at. Sheet G 8.
func TestWrongProject(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		says   string
	}{
		{404, html, "is sender_id the number of that project"},
		{403, fail("PERMISSION_DENIED", "x", iam), "cloudmessaging.messages.create"},
		{403, fail("PERMISSION_DENIED", "x", disabled), "enable the Firebase Cloud Messaging API for project 482915730064"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, n := newBox(downstreams(20)...), new(atomic.Int64)
			s := newSession(Options{Outbox: b, Transport: wire(func(*http.Request, string) (int, string) { return c.status, c.body })}, tokens(n))
			start(t, s)
			until(t, "all answers", func() bool { return len(b.answers()) == 20 })
			for _, a := range b.answers() {
				if a.Verdict != flow.Halt || a.Gone || !strings.Contains(a.Description, c.says) {
					t.Errorf("%+v", a.Answer)
				}
			}
			if st := s.Status(); len(st.Unready) != 1 || !strings.Contains(st.Unready[0], c.says) {
				t.Errorf("%q", st.Unready)
			}
		})
	}
}

// A stop takes nothing more, and lets what is in flight end; what has no answer by then
// is ambiguous if it was written, and goes back if not.
func TestStop(t *testing.T) { // P3, P4
	synctest.Test(t, func(t *testing.T) {
		b := newBox(downstreams(3)...)
		s := newSession(Options{Outbox: b, Transport: trip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case !real(string(body)):
				return reply2(r, 200, accepted), nil
			case strings.Contains(string(body), `"t:1"`):
				time.Sleep(2 * time.Second)
				return reply2(r, 200, accepted), nil
			case strings.Contains(string(body), `"t:2"`):
				httptrace.ContextClientTrace(r.Context()).WroteHeaders()
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}, tokens(new(atomic.Int64)))
		stop := start(t, s)
		time.Sleep(time.Second)
		began := time.Now()
		go b.put(downstream(4)) // too late
		stop()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v to stop", took)
		}
		got := map[uint64]flow.Verdict{}
		for _, a := range b.answers() {
			got[a.seq] = a.Verdict
		}
		if got[1] != flow.Acked || got[2] != flow.Retry || got[3] != flow.Resend {
			t.Errorf("%v", got)
		}
		if st := s.Status(); st.InFlight != 0 || st.Ambiguous != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A request without an answer ends after 30 s: a written one counts as an attempt.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(downstreams(1)...)
		s := newSession(Options{Outbox: b, Transport: trip(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).WroteHeaders()
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}, tokens(new(atomic.Int64)))
		began := time.Now()
		start(t, s)
		until(t, "an answer", func() bool { return len(b.answers()) == 1 })
		a := b.answers()[0]
		if a.Verdict != flow.Retry || a.Code != CodeNoAnswer || a.at.Sub(began) != 30*time.Second {
			t.Errorf("%+v after %v", a.Answer, a.at.Sub(began))
		}
	})
}

// The TTL that is sent is what remains when the request is written, however long the
// access token took.
func TestRemainingTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, n := newBox(), new(atomic.Int64)
		bodies := make(chan string, 10)
		slow := func(ctx context.Context) (access, error) {
			if n.Load() > 0 {
				time.Sleep(10 * time.Second)
			}
			return tokens(n)(ctx)
		}
		s := newSession(Options{Outbox: b, Transport: wire(func(r *http.Request, body string) (int, string) {
			if real(body) {
				bodies <- body
				if r.Header.Get("Authorization") == "Bearer 1" {
					return 401, html
				}
			}
			return 200, accepted
		})}, slow)
		start(t, s)
		time.Sleep(time.Second)
		g, ttl := downstream(1), time.Minute
		g.TTL = &ttl
		b.put(g)
		if one, two := <-bodies, <-bodies; !strings.Contains(one, `"ttl":"60s"`) || !strings.Contains(two, `"ttl":"50s"`) {
			t.Errorf("%s\n%s", one, two)
		}
	})
}
