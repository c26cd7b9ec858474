package fcmv1

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/fcmsim"
	"balhost/sdk/message"
)

// Bugs of other senders, each as a test against the simulator, by the numbers of
// fcm-v1-and-gateway.md G. Those that are about one answer are in judge_test.go, those
// about tokens in bearer_test.go too, and those about the session's waits in session_test.go.

// G 1: FCM delivers, and says that it did not. Two sends, one bal_id, one effect, and the
// second not before 10 s.
func TestDeliveredAndDenied(t *testing.T) {
	for name, response := range map[string]fcmsim.Response{
		"503": fcmsim.Unavailable.Delivered(), "reset": fcmsim.Reset.Delivered(), "closed": fcmsim.Closed.Delivered(), "hang": fcmsim.Hang.Delivered(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fcmsim.Options{}, nil)
				defer w.stop()
				w.rule(fcmsim.Match{Target: "t:1"}, response)
				w.ledger.acceptAll(1)
				if n := w.acked(1, 2*time.Minute); n != 2 {
					t.Errorf("%d attempts", n)
				}
				sends := w.sends()
				if len(sends) != 2 || sends[0].BalID != "d-1" || sends[1].BalID != "d-1" {
					t.Fatalf("%+v", sends)
				}
				if wait := sends[1].Time.Sub(sends[0].Time); wait < 10*time.Second {
					t.Errorf("the second came after %v", wait)
				}
				if d, _ := w.server.Device("t:1"); d.Received != 2 || d.Effects != 1 || d.Duplicates != 1 {
					t.Errorf("%+v", d)
				}
			})
		})
	}
}

// A group's next goes out after the answer to the one before it, through retries. Sheet B1, B2.
func TestGroups(t *testing.T) { // P5
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{AnswerDelay: fcmsim.Range{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond}}, nil)
		defer w.stop()
		w.rule(fcmsim.Match{BalID: "d-4"}, fcmsim.Unavailable)
		w.rule(fcmsim.Match{BalID: "d-9"}, fcmsim.Reset.Delivered())
		for range 20 {
			w.ledger.accept(message.Downstream{To: message.Token("t:1"), Group: "g"})
		}
		w.acked(20, 5*time.Minute)
		d, _ := w.server.Device("t:1")
		seq, last := 0, ""
		for _, m := range d.Last {
			if m.Duplicate {
				continue
			}
			if seq++; m.BalID != fmt.Sprint("d-", seq) || m.Data["bal_seq"] != fmt.Sprint(seq) {
				t.Errorf("%s came after %s", m.BalID, last)
			}
			last = m.BalID
		}
		if seq != 20 {
			t.Errorf("%d of 20", seq)
		}
	})
}

// G 3: over the project's quota the session rests, without an attempt; in the end all go.
func TestOverQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{Quota: 600}, func(o *Options) { o.Rate = 8000 })
		defer w.stop()
		w.ledger.acceptAll(2000)
		w.acked(2000, 20*time.Minute)
		c := w.server.Counts()
		if c.OverQuota == 0 || c.OverQuota > 1500 {
			t.Errorf("%d over the quota", c.OverQuota)
		}
		w.once(2000)
	})
}

// G 5: tokens that live five seconds, and all that are revoked in mid-flight.
func TestTokensInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{ExpiresIn: 5 * time.Second, AnswerDelay: fcmsim.Range{Min: 50 * time.Millisecond}}, nil)
		defer w.stop()
		for range 60 {
			w.ledger.acceptAll(10)
			time.Sleep(time.Second)
		}
		if n := w.acked(600, time.Minute); n != 600 {
			t.Errorf("%d attempts", n)
		}
		if c := w.server.Counts(); c.Unauthorized > 0 || c.TokenRequests > 20 {
			t.Errorf("%+v", c)
		}
		w.server.SetTokens(fcmsim.Tokens{ExpiresIn: fcmsim.Duration(time.Hour)})
		time.Sleep(6 * time.Second)
		before := w.server.Counts()
		w.ledger.acceptAll(100)
		w.server.SetTokens(fcmsim.Tokens{Revoke: true})
		if n := w.acked(700, time.Minute); n != 700 {
			t.Errorf("%d attempts", n)
		}
		if c := w.server.Counts(); c.TokenRequests != before.TokenRequests+1 {
			t.Errorf("%d token requests for 100 refused", c.TokenRequests-before.TokenRequests)
		}
		w.once(700)
	})
}

// G 6: a clock that is off is named, with the difference; nothing is lost.
func TestClockIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{}, nil)
		defer w.stop()
		w.server.SetTokens(fcmsim.Tokens{Clock: fcmsim.Duration(3 * time.Hour), Revoke: true})
		w.ledger.acceptAll(10)
		time.Sleep(10 * time.Minute)
		st := w.session.Status()
		if len(st.Unready) == 0 || !strings.Contains(st.Unready[0], "invalid_grant") || !strings.Contains(st.Unready[0], "clock") {
			t.Errorf("%q", st.Unready)
		}
		if n := len(w.ledger.outcomes()); n > 0 {
			t.Errorf("%d have an outcome", n)
		}
		w.server.SetTokens(fcmsim.Tokens{ResetClock: true})
		w.session.Hurry()
		w.acked(10, time.Minute)
		if st := w.session.Status(); len(st.Unready) > 0 {
			t.Errorf("%q", st.Unready)
		}
	})
}

// G 8: the key is of another project: no target is gone, and the session halts.
func TestOtherProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{}, func(o *Options) {
			o.Endpoint += "/elsewhere" // a 404 in HTML
		})
		defer w.stop()
		w.ledger.acceptAll(100)
		time.Sleep(time.Hour)
		if n := len(w.ledger.outcomes()); n > 0 {
			t.Errorf("%d have an outcome", n)
		}
		if n := w.server.Counts().Requests; n > 200 {
			t.Errorf("%d requests in an hour", n)
		}
		if st := w.session.Status(); len(st.Unready) != 1 || !strings.Contains(st.Unready[0], "endpoint") {
			t.Errorf("%q", st.Unready)
		}
	})
}

// G 9: a topic over its rate rests, and other targets go.
func TestTopicRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{TopicQuota: 1}, nil)
		defer w.stop()
		for range 3 {
			w.ledger.accept(message.Downstream{To: message.Topic("news")})
		}
		for range 50 {
			w.ledger.accept(message.Downstream{To: message.Topic("weather")})
			w.ledger.acceptAll(1)
		}
		time.Sleep(30 * time.Second)
		if n := len(w.ledger.outcomes()); n != 52 {
			t.Errorf("%d have an outcome in 30 s", n)
		}
	})
}

// G 13: while one account's token endpoint hangs, other sessions go on, and the status
// says why this one does not.
func TestTokenEndpointHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{}, nil)
		defer w.stop()
		w.ledger.acceptAll(1)
		w.acked(1, time.Minute)
		w.rule(fcmsim.Match{Token: true, Count: -1}, fcmsim.Hang)
		hung := newBox(downstreams(5)...)
		other := w.newSession("other", hung, nil)
		stop := start(t, other)
		defer stop()
		time.Sleep(30 * time.Minute)
		w.ledger.acceptAll(100)
		w.acked(101, time.Minute)
		st := other.Status()
		if len(st.Unready) != 1 || !strings.Contains(st.Unready[0], "no access token") || len(hung.answers()) > 0 {
			t.Errorf("%q, %d answers", st.Unready, len(hung.answers()))
		}
		w.server.ClearAnswers()
		time.Sleep(2 * time.Minute) // the longest wait, and a fetch that still hangs
		until(t, "the other session sends", func() bool { return len(hung.answers()) == 5 })
	})
}

// G 15: an install answers to one kind of address. The other kind is gone.
func TestAddressesOfOneInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fcmsim.Options{}, nil)
		defer w.stop()
		if err := w.server.Register(fcmsim.Install{Token: "t:x", FID: "fid-x", By: fcmsim.KindFID}); err != nil {
			t.Fatal(err)
		}
		old := w.ledger.accept(message.Downstream{To: message.Token("t:x")})
		now := w.ledger.accept(message.Downstream{To: message.FID("fid-x")})
		ends := w.ended(2, time.Minute)
		if e := ends[old]; e.Status != message.Failed || !e.Gone || e.Code != "UNREGISTERED" {
			t.Errorf("by its token: %+v", e)
		}
		if e := ends[now]; e.Status != message.Acked {
			t.Errorf("by its FID: %+v", e)
		}
	})
}

// Answers of all kinds have bounded memory and one clear error, and lose nothing.
func TestOddEndpoints(t *testing.T) { // P10
	for name, c := range map[string]struct {
		answer   fcmsim.Response
		attempts int
		says     string // a warning
	}{
		"a 200 in HTML":      {fcmsim.AcceptedHTML, 1, ""},
		"half a 200":         {fcmsim.AcceptedHalf, 1, ""},
		"an empty object":    {fcmsim.EmptyObject, 1, ""},
		"a redirect":         {fcmsim.Redirect, 2, "redirects requests"},
		"a bad gateway":      {fcmsim.BadGateway, 2, ""},
		"200 MB of an error": {fcmsim.Response{Status: 503, Body: "{", Size: 200 << 20}, 2, ""},
		"a slow body":        {fcmsim.Response{Status: 200, Body: accepted, BodyDelay: fcmsim.Duration(time.Hour), Deliver: true}, 1, ""},
		"an early answer":    {fcmsim.Response{Status: 503, Early: true, Body: "{}"}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fcmsim.Options{Grease: true}, nil)
				defer w.stop()
				time.Sleep(time.Second)
				m := fcmsim.Match{Target: "t:1"}
				if c.answer.Early {
					m = fcmsim.Match{}
				}
				w.rule(m, c.answer)
				w.ledger.acceptAll(1)
				if n := w.acked(1, 5*time.Minute); n != c.attempts {
					t.Errorf("%d attempts", n)
				}
				if st := w.session.Status(); c.says != "" && (len(st.Warnings) == 0 || !strings.Contains(st.Warnings[0], c.says)) {
					t.Errorf("%q", st.Warnings)
				}
			})
		})
	}
}
