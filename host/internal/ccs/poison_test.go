package ccs_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/sdk/message"
)

// poison is one downstream to which CCS always does the same. The figures are
// the most that it may cost.
type poison struct {
	name  string
	rule  ccssim.Nack
	code  string        // of its outcome
	times int           // that it goes out, or once less: that depends on whether another gets through between two of its first ends
	lasts time.Duration // until its outcome
	down  time.Duration // without a connection
	late  time.Duration // another one waits
	twice uint64        // others that a device gets again
}

const lost, blamed = ccs.CodeConnectionLost, ccs.CodeStreamError

// On one connection, which is the worst case. The time without one is mostly
// the backoff: up to 1, 2 and 4 s after the three ends that have no explanation
// yet, up to 1 s after each of the others.
var poisons = []poison{
	{"RST", ccssim.Nack{Cut: ccssim.CutRST}, lost, 18, 2 * time.Hour, 24 * time.Second, 12 * time.Second, 300},
	{"FIN", ccssim.Nack{Cut: ccssim.CutFIN}, lost, 18, 2 * time.Hour, 24 * time.Second, 12 * time.Second, 300},
	{"internal-server-error", ccssim.Nack{StreamError: "internal-server-error"}, lost, 18, 2 * time.Hour, 24 * time.Second, 12 * time.Second, 300},
	{"undefined-condition", ccssim.Nack{StreamError: "undefined-condition"}, lost, 18, 2 * time.Hour, 24 * time.Second, 12 * time.Second, 300},
	{"policy-violation", ccssim.Nack{StreamError: "policy-violation"}, blamed, 17, 2 * time.Hour, 24 * time.Second, 12 * time.Second, 100},
	{"invalid-xml", ccssim.Nack{StreamError: "invalid-xml"}, blamed, 3, 10 * time.Second, 3 * time.Second, 5 * time.Second, 100},
	{"silence", ccssim.Nack{}, lost, 18, 3 * time.Hour, 24 * time.Second, 12 * time.Second, 300},
}

// A downstream over which CCS ends the connection, whatever it says, or that it
// never answers, fails in the end and harms the others little: a window full of
// them that goes with it, and one a second after that. Its group goes on in order.
func TestPoisonHarmsNoOther(t *testing.T) { // P3, P4, P5, P10; ccs-protocol.md §12 (e)
	for _, p := range poisons {
		t.Run(p.name, func(t *testing.T) {
			if t.Parallel(); testing.Short() && p.code == lost && p.rule.Cut != ccssim.CutRST {
				t.Skip("takes long, and the outbox treats it as an RST")
			}
			p.run(t, 1)
		})
	}
	t.Run("on four connections", func(t *testing.T) {
		t.Parallel()
		p := poisons[0]
		p.down, p.late = 10*time.Second, 10*time.Second // it may end all of them at first
		p.run(t, 4)
	})
}

func (p poison) run(t *testing.T, connections int) {
	o := plan{
		server:  ccssim.Options{AckDelay: ccssim.Range{Min: 20 * time.Millisecond}},
		session: func(o *ccs.Options) { o.Connections = connections },
	}
	host(t, o, func(w *whole) {
		w.until("all connections", func() bool { return w.standing() == connections })
		p.rule.Token, p.rule.Count = "poison", -1
		w.srv.Nack(p.rule)
		start, sent := time.Now(), []time.Time{}
		others := func(n int) {
			w.sendN("good", len(sent), n)
			for range n {
				sent = append(sent, time.Now())
			}
		}
		others(1)
		w.acked(1) // CCS is content with the account
		others(49)
		for i, token := range []string{"poison", "member", "member"} {
			w.send(message.Downstream{To: message.Token(token), MessageID: fmt.Sprint("group-", i), Group: "g"})
		}
		others(50)
		const step = 100 * time.Millisecond
		var down, late time.Duration
		for w.led.Counts().Failed == 0 && time.Since(start) < 4*time.Hour {
			for range int(time.Second / step) {
				time.Sleep(step)
				if w.standing() == 0 {
					down += step
				}
				if n := int(w.led.Counts().Acked); n < len(sent) {
					late = max(late, time.Since(sent[n]))
				}
			}
			others(1)
		}
		lasted := time.Since(start)
		w.until("all others", func() bool { return w.led.Counts().Downstreams == 0 })
		bad, twice := w.outcomes()["group-0"], w.srv.Counts().DuplicateDown
		t.Logf("it went out %d times in %v; %v without a connection; of %d others %d came twice, and one waited %v",
			bad.Attempts, lasted, down, len(sent), twice, late)
		if bad.Status != message.Failed || bad.Code != p.code || bad.Attempts > p.times || bad.Attempts < p.times-1 || lasted > p.lasts {
			t.Errorf("the poison ended after %v: %+v", lasted, bad)
		}
		if c := w.led.Counts(); c.Acked != uint64(len(sent)+2) || c.Failed != 1 {
			t.Errorf("P4: %d acked and %d failed, want %d and 1", c.Acked, c.Failed, len(sent)+2)
		}
		if down > p.down || late > p.late || twice > p.twice {
			t.Errorf("want %v, %d and %v at most", p.down, p.twice, p.late)
		}
		if got := unique(w.received("member")); !slices.Equal(got, []string{"group-1", "group-2"}) {
			t.Errorf("P5: its group went as %q", got)
		}
		w.legal()
	})
}

// unique are ids as they came first.
func unique(ids []string) (once []string) {
	for _, id := range ids {
		if !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	return once
}

// Where CCS ends every connection, whatever we send, it is not a message's fault:
// we come ever less, with suspects too.
func TestEveryMessageEndsTheConnection(t *testing.T) { // P4, P10
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Cut: ccssim.CutRST, Count: -1})
		w.sendN("tokA", 1, 30)
		time.Sleep(20 * time.Minute)
		if n := w.srv.Counts().Logins; n < 12 || n > 40 {
			t.Errorf("%d connections in 20 minutes", n)
		}
		w.srv.ClearNacks()
		w.acked(30)
		w.legal()
	})
}

// While one connection drains with something unanswered, and CCS never closes
// it, another one ends over our bytes: what it had in flight goes alone on the
// next, and nothing waits for the one that drains.
func TestSuspectBesideADrainingConnection(t *testing.T) { // P10; ccs-protocol.md §7
	host(t, plan{session: quick}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{Token: "held", Count: -1})
		w.srv.Nack(ccssim.Nack{Token: "bad", StreamError: "invalid-xml"})
		w.send(one("held", "held", nil))
		w.until("it", func() bool { return w.conn(1).Unanswered == 1 })
		w.srv.DrainWith(ccssim.Drain{Conn: 1})
		w.until("the replacement", func() bool { return w.standing() == 1 })
		w.send(one("bad", "bad", nil))
		began := time.Now()
		w.sendN("tokA", 1, 20)
		w.until("all but one", func() bool { return w.led.Counts().Acked == 21 })
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
		if w.conn(1).State != ccssim.StateDraining || w.conn(1).Unanswered != 1 {
			t.Errorf("the first connection is %+v", w.conn(1))
		}
		w.legal()
	})
}

// policy-violation is a refusal where nothing of ours can have been the reason, and
// where nothing shows that a message was.
func TestPolicyViolation(t *testing.T) { // P10; ccs-protocol.md §1.4
	for _, inFlight := range []int{0, 3} {
		host(t, plan{}, func(w *whole) {
			w.sendN("tokA", 1, 1)
			w.acked(1)
			w.srv.Nack(ccssim.Nack{Count: inFlight})
			w.sendN("tokA", 2, inFlight)
			w.until("them", func() bool { return w.conn(1).Unanswered == inFlight })
			w.srv.ClearNacks()
			w.srv.StreamError("policy-violation")
			began := time.Now()
			w.until("another connection", func() bool { return w.srv.Counts().Logins == 2 })
			if d := time.Since(began); (d >= 30*time.Second) != (inFlight == 0) {
				t.Errorf("with %d in flight the next connection came after %v", inFlight, d)
			}
			w.acked(1 + inFlight)
			if refused := strings.Contains(w.log.String(), "does not let us in"); refused != (inFlight == 0) {
				t.Errorf("with %d in flight: %s", inFlight, w.log)
			}
		})
	}
}

// A quota says policy-violation over whatever is in flight, for hours: the waits
// between connections are long, and no good message fails.
func TestQuotaEndsConnections(t *testing.T) { // P4, P10
	host(t, plan{}, func(w *whole) {
		w.srv.Nack(ccssim.Nack{StreamError: "policy-violation", Count: -1})
		for i, token := range []string{"tokA", "tokB"} {
			w.send(message.Downstream{To: message.Token(token), MessageID: fmt.Sprint("m-", i), Options: message.Options{TTL: message.TTL(24 * time.Hour)}})
			w.until("its end", func() bool { return w.srv.Counts().StreamErrors > uint64(i) })
		}
		time.Sleep(6 * time.Hour)
		if n := w.srv.Counts().Logins; n > 120 {
			t.Errorf("%d connections in six hours", n)
		}
		if c := w.led.Counts(); c.Downstreams != 2 {
			t.Errorf("outcomes %+v", w.outcomes())
		}
		w.srv.ClearNacks()
		w.acked(2)
		w.legal()
	})
}

// A connection that is replaced because something is unanswered did not fail:
// the next one comes at once, how often ever, and however short answer_timeout.
func TestUnansweredIsNoFailedConnection(t *testing.T) { // P10
	const limit = 3 * time.Second
	host(t, plan{session: func(o *ccs.Options) { o.AnswerTimeout = limit }}, func(w *whole) {
		for i := range 12 {
			w.srv.Nack(ccssim.Nack{})
			sent := time.Now()
			w.sendN("tokA", i, 1)
			w.until("the next connection", func() bool { return w.srv.Counts().Logins == i+2 })
			if d := time.Since(sent); d < limit || d > limit+time.Second { // and the tick
				t.Errorf("connection %d came after %v", i+2, d)
			}
		}
		w.acked(12)
		w.legal()
	})
}
