package fcmv1

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/flow"
)

// A session's state never contradicts what it says of its readiness: it is unready in
// the states in which it can't do its work, and in no other. A quota that is used up
// recovers by itself, so it is a warning, which says so.
func TestStateAndReadiness(t *testing.T) {
	answers := func(status int, body string) http.RoundTripper {
		return wire(func(_ *http.Request, request string) (int, string) {
			if !real(request) && status == 429 {
				return 200, accepted
			}
			return status, body
		})
	}
	for name, c := range map[string]struct {
		fetch     fetcher
		transport http.RoundTripper
		state     State
		says      string // in Unready, or in Warnings
	}{
		"all is well":   {tokens(new(atomic.Int64)), answers(200, accepted), Ready, ""},
		"no token":      {func(context.Context) (access, error) { return access{}, errors.New("the key is not there") }, answers(200, accepted), NoToken, "there is no access token: the key is not there"},
		"no permission": {tokens(new(atomic.Int64)), answers(403, fail("PERMISSION_DENIED", "no", iam)), Refused, "FCM does not serve this account: no: these credentials may not send"},
		"no network":    {tokens(new(atomic.Int64)), trip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }), NotReached, "requests don't get through: no route to host"},
		"no quota":      {tokens(new(atomic.Int64)), answers(429, fail("RESOURCE_EXHAUSTED", "Quota exceeded", perProject)), Resting, "the project's quota at FCM is used up: no request for "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(downstreams(20)...)
				b.eager = true
				s := newSession(Options{Outbox: b, Transport: c.transport}, c.fetch)
				start(t, s)
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					st := s.Status()
					if able := st.State == Ready || st.State == Resting; able != (len(st.Unready) == 0) {
						t.Fatalf("%s, and unready because of %q", st.State, st.Unready)
					}
					if st.State == Resting && (len(st.Warnings) == 0 || st.RestingUntil.IsZero()) {
						t.Fatalf("it rests until %v with the warnings %q", st.RestingUntil, st.Warnings)
					}
				}
				if c.state == Resting { // from one rest to the next
					for i := 0; i < 100 && s.Status().State != Resting; i++ {
						time.Sleep(100 * time.Millisecond)
					}
				}
				st := s.Status()
				said := slices.Concat(st.Unready, st.Warnings)
				if st.State != c.state || !strings.Contains(strings.Join(said, "\n"), c.says) || c.says == "" && len(said) > 0 {
					t.Errorf("%q, %q", st.State, said)
				}
				if c.state == Resting && !strings.Contains(said[0], "goes on by itself") {
					t.Errorf("%q does not say that it recovers", said)
				}
			})
		})
	}
}

// What FCM says of a message that it refuses for good is followed by what to do, in the
// outcome and in the log, however much FCM says.
func TestRefusalsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, says string
	}{
		"the app has gone": {404, fail("NOT_FOUND", "Requested entity was not found.", fcmError("UNREGISTERED")),
			"Requested entity was not found: the app is no longer installed there, or has another token now: delete this target"},
		"a field is wrong": {400, fail("INVALID_ARGUMENT", strings.Repeat("long ", 200), fcmError("INVALID_ARGUMENT")),
			": this message never works as it is: correct the field that FCM names; if that is the token, take a new one from the app"},
		"another project": {403, fail("PERMISSION_DENIED", "SenderId mismatch", fcmError("SENDER_ID_MISMATCH")),
			"SenderId mismatch: this target belongs to an app of another Firebase project: send to it by a session of that project, or delete it"},
		"Apple's key": {401, fail("UNAUTHENTICATED", "credential.", fcmError("THIRD_PARTY_AUTH_ERROR")),
			"credential: renew the key for Apple's devices or for browsers in the Firebase console (Project settings, Cloud Messaging), and send the message again"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBox(downstreams(1)...)
				start(t, newSession(Options{Outbox: b, Transport: wire(func(_ *http.Request, request string) (int, string) {
					if !real(request) {
						return 200, accepted
					}
					return c.status, c.body
				})}, tokens(new(atomic.Int64))))
				time.Sleep(time.Second)
				synctest.Wait()
				all := b.answers()
				if len(all) != 1 || all[0].Verdict != flow.Fail || !strings.Contains(all[0].Description, c.says) || len(all[0].Description) > 600 {
					t.Errorf("%+v", all)
				}
			})
		})
	}
}
