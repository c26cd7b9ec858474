package main

import (
	"strings"
	"testing"
	"time"

	"balhost/host/internal/status"
	"balhost/sdk/message"
)

// A session by FCM's HTTP v1 has one row, and a line that says what it has in place of
// connections. Its problems follow, as those of any session.
func TestStatusOfFCMv1(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	whole := status.FCMv1{Account: "a@p.iam.gserviceaccount.com", Token: true, TokenUntil: now.Add(55 * time.Minute), InFlight: 3, Window: 400, Connections: 2, State: "ready", Rate: 8000, MostRate: 8000}
	for name, c := range map[string]struct {
		change func(*status.Session)
		want   []string
	}{
		"ready": {func(*status.Session) {}, []string{
			"phones   fcm.googleapis.com  -     ready  -    3/400      7        -       -   -        41    -\n",
			"  phones: fcm_v1, as a@p.iam.gserviceaccount.com: access token for 55m0s, 8000 messages/s at most, 2 connections; nothing comes up through it\n",
		}},
		"no token": {func(s *status.Session) { s.FCMv1.State, s.FCMv1.Token, s.FCMv1.Account = "no token", false, "" }, []string{
			" no token ", "  phones: fcm_v1, as the platform's own account: no access token, ",
		}},
		"resting": {func(s *status.Session) {
			s.FCMv1.State, s.RestingUntil, s.FCMv1.Rate = "resting", now.Add(time.Minute), 4000
		}, []string{
			" resting ", ", 4000 messages/s at most now, rising to 8000,", "  phones: no request for 1m0s: the project's quota at FCM is used up; it goes on by itself, slower\n",
		}},
		"not reached": {func(s *status.Session) { s.FCMv1.State, s.RestingUntil = "not reached", now.Add(time.Minute) }, []string{
			" not reached ", "  phones: no request for 1m0s: FCM is not reached, or is in trouble; it is tried again by itself, and balhost reload tries it at once\n",
		}},
		"refused": {func(s *status.Session) { s.FCMv1.State = "refused" }, []string{" refused "}},
		"halted": {func(s *status.Session) {
			s.HaltedUntil, s.LastError, s.LastErrorAt = now.Add(4*time.Minute), "PERMISSION_DENIED: no", now.Add(-time.Second)
		}, []string{
			" halted ", "  phones: FCM refuses the account: no downstream goes out for 4m0s\n", "  phones: the last trouble, 1s ago: PERMISSION_DENIED: no\n",
		}},
		"no answers": {func(s *status.Session) { s.FCMv1.Ambiguous, s.FCMv1.Odd = 1, 2 }, []string{
			"  phones: 1 request got no answer: FCM may have delivered what they sent, and it is sent again\n", "  phones: 2 answers were of an unknown form; they count as taken\n",
		}},
		"early": {func(s *status.Session) { s.Later, s.Early, s.NextTry = 2, 2, now.Add(10*time.Second) }, []string{
			"2 downstreams wait for their time, the first in 10s"}},
		"early and waiting": {func(s *status.Session) { s.Later, s.Early, s.NextTry = 3, 1, now.Add(10*time.Second) }, []string{
			"1 downstream waits for its time, and 2 to be sent again, the first in 10s"}},
		"waiting": {func(s *status.Session) { s.Later, s.NextTry = 2, now.Add(10*time.Second) }, []string{
			"  phones: 2 downstreams wait to be sent again, the first in 10s\n",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := whole
			s := status.Session{Name: "phones", SenderID: "1", Transport: message.FCMv1, Address: "fcm.googleapis.com", Downstreams: 41, Waiting: 7, FCMv1: &f}
			c.change(&s)
			var out strings.Builder
			if err := printSessions(&out, []status.Session{s}, now); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
