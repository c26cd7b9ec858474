package outbox

import (
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/flow"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
)

// inFlight is what four connections of a transport with requests carry at most.
const inFlight = 4 * 100

// requests takes n, each Take on a connection of its own, as a transport does whose
// requests harm no other.
func requests(b *Outbox, conn *int, n int) (seqs []uint64) {
	for len(seqs) < n {
		*conn++
		got := takeOn(b, *conn, n-len(seqs))
		if len(got) == 0 {
			break
		}
		seqs = append(seqs, got...)
	}
	return seqs
}

// A wrong project halts the sender, whatever is in flight: all of it is refused at once,
// mixed with acks that were on their way. One line says so. Nothing fails, and no target
// is gone. When the project is right again, all go.
func TestWrongProjectFailsNothing(t *testing.T) { // P4; fcm-v1-and-gateway.md G8
	for name, mixed := range map[string]bool{"from the start": false, "with late acks": true} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
				var log lines
				b.log = hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})
				conn, want := 0, 0
				if mixed {
					accept(l, 1)
					b.Answered("main", requests(b, &conn, 1)[0], acked)
					want++
				}
				accept(l, 3*inFlight)
				ids := requests(b, &conn, inFlight)
				if len(ids) != inFlight {
					t.Fatalf("%d went", len(ids))
				}
				for _, it := range b.items { // one more attempt is the last
					it.Attempts = 14
				}
				for i, seq := range ids {
					if mixed && i%3 == 1 {
						b.Answered("main", seq, acked)
						want++
					} else {
						b.Answered("main", seq, saying(flow.Answer{Verdict: flow.Halt, Code: "NOT_FOUND"}, "no such project"))
					}
					time.Sleep(time.Millisecond)
					if i > 1 {
						expect(t, "nothing goes", requests(b, &conn, inFlight))
					}
				}
				if n := strings.Count(log.String(), "[ERROR] this sender is refused"); n != 1 || strings.Contains(log.String(), "taken again") {
					t.Errorf("said %d times: %s", n, &log)
				}
				for start := time.Now(); time.Since(start) < 3*time.Hour; time.Sleep(time.Second) {
					probe := requests(b, &conn, inFlight)
					if len(probe) > 1 {
						t.Fatalf("%d go at once", len(probe))
					}
					for _, seq := range probe {
						b.Answered("main", seq, denied)
					}
				}
				if n := len(l.outcomes()); n != want {
					t.Fatalf("%d outcomes, want the %d acks", n, want)
				}
				b.Lift()
				for len(l.pending) > 0 {
					got := requests(b, &conn, inFlight)
					for _, seq := range got {
						b.Answered("main", seq, acked)
					}
					if len(got) == 0 {
						time.Sleep(time.Second)
					}
				}
				for _, e := range l.outcomes() {
					if e.Status != message.Acked || e.Gone {
						t.Errorf("%d: %+v", e.Seq, e)
					}
				}
			})
		})
	}
}

// A permission that comes and goes fails no message, although each time the same one is
// refused while others get through.
func TestAccountThatComesAndGoes(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		b.o.Attempts = 3
		accept(l, 1)
		conn, blamed := 0, 0
		for range 30 {
			for refused := false; !refused; time.Sleep(time.Second) { // it works, but not for the first
				if accept(l, 1); l.pending[1].Seq == 0 {
					t.Fatalf("after %d times: %+v", blamed, l.end(t, 1))
				}
				for _, seq := range slices.Backward(requests(b, &conn, inFlight)) {
					if refused = refused || seq == 1; seq == 1 {
						b.Answered("main", seq, denied)
					} else {
						b.Answered("main", seq, acked)
					}
				}
			}
			if b.Stats().Halted == 0 {
				blamed++
			}
			for b.Stats().Halted == 0 { // it works for none
				accept(l, 1)
				for _, seq := range requests(b, &conn, inFlight) {
					b.Answered("main", seq, denied)
				}
				time.Sleep(time.Second)
			}
		}
		if blamed < 10 {
			t.Errorf("the first was blamed %d times", blamed)
		}
		for _, e := range l.outcomes() {
			if e.Status != message.Acked {
				t.Fatalf("%d: %+v", e.Seq, e)
			}
		}
	})
}

// An ack that was on its way when the account was refused does not end the halt, but
// brings the next probe nearer.
func TestLateAckBringsTheProbeNearer(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 5)
		expect(t, "two", take(b, 2), 1, 2)
		b.Answered("main", 1, denied)
		time.Sleep(time.Second)
		b.Answered("main", 2, acked)
		time.Sleep(9*time.Second - time.Millisecond)
		expect(t, "nothing", take(b, 9))
		changed := b.Changed("main")
		time.Sleep(time.Millisecond)
		if !hinted(changed) {
			t.Error("no hint that the probe is due")
		}
		expect(t, "the probe", take(b, 9), 3)
		b.Answered("main", 3, acked)
		expect(t, "the others", take(b, 9), 1, 4, 5)
	})
}

// Something between us and the peer refuses some messages, in words that mean the
// account, such as a proxy that does not like their text. Others get through. These go on,
// and the bad ones fail in the end.
func TestRefusedMessagesStopNoOther(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const bad, attempts = 20, 15
		accept(l, bad)
		conn, halts, went := 0, 0, 0
		start := time.Now()
		for len(l.outcomes())-went < bad {
			if time.Since(start) > 6*time.Hour {
				t.Fatalf("%d bad ones are left", bad-(len(l.outcomes())-went))
			}
			accept(l, 1)
			got := requests(b, &conn, inFlight)
			for _, seq := range slices.Backward(got) { // the good one is answered first
				if seq <= bad {
					b.Answered("main", seq, denied)
				} else {
					b.Answered("main", seq, acked)
					went++
				}
			}
			if b.Stats("main").Halted > 0 {
				halts++
			}
			time.Sleep(time.Second)
		}
		if halts > 6*60 { // seconds: one halt
			t.Errorf("the others waited %d s of %v", halts, time.Since(start))
		}
		for seq := range uint64(bad) {
			if e := l.end(t, seq+1); e.Status != message.Failed || e.Attempts < attempts {
				t.Errorf("%d: %+v", seq+1, e)
			}
		}
		t.Logf("the others waited %d s of %v", halts, time.Since(start))
	})
}

// What a transport of streams left as suspects goes out over one of requests: alone or
// beside others, in its group's order, and nothing starves.
func TestSuspectsGoOverRequests(t *testing.T) { // P5, P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const groups, each, rtt = 50, 4, 100 * time.Millisecond
		for range each {
			for g := range uint64(groups) {
				l.accept("tokA", g+1, -1)
			}
		}
		accept(l, 50)
		suspects := take(b, 100)
		if len(suspects) != 100 {
			t.Fatalf("%d went", len(suspects))
		}
		b.Return("main", suspects, garbled) // from here on it is another transport
		conn, start := 0, time.Now()
		next := map[uint64]uint64{}
		for len(l.outcomes()) < groups*each+50 {
			accept(l, 1) // others come all the time
			changed := b.Changed("main")
			got := requests(b, &conn, inFlight)
			if len(got) == 0 {
				<-changed
				continue
			}
			for _, seq := range got {
				if seq <= groups*each {
					g := (seq - 1) % groups
					if want := next[g]*groups + g + 1; seq != want {
						t.Fatalf("P5: %d of group %d, want %d", seq, g, want)
					}
					next[g]++
				}
			}
			time.Sleep(rtt)
			for _, seq := range got {
				b.Answered("main", seq, acked)
			}
			if time.Since(start) > 2*time.Minute {
				t.Fatalf("after %v: %d of %d, %+v", time.Since(start), len(l.outcomes()), groups*each+50, b.Stats())
			}
		}
		t.Logf("all went in %v", time.Since(start))
	})
}
