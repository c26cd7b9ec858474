package outbox

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// patience is that of package flow.
const patience = 2 * time.Second

// accept stores n.
func accept(l *ledger, n int) {
	for range n {
		l.accept("tokA", 0, -1)
	}
}

// hinted reports whether changed is closed.
func hinted(changed <-chan struct{}) bool {
	synctest.Wait()
	select {
	case <-changed:
		return true
	default:
		return false
	}
}

// After a stream error over our bytes each goes alone. The poison fails when it has
// ended two connections alone, and others got through before each of these.
func TestPoisonNeverLoops(t *testing.T) { // P10; ccs-protocol.md §12 (e)
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const poison = 3
		accept(l, 5)
		expect(t, "five", take(b, 5), 1, 2, 3, 4, 5)
		b.Return("main", []uint64{1, 2, 3, 4, 5}, garbled)
		for _, want := range []uint64{1, 2, 3, 4, 5} {
			expect(t, "alone", take(b, 100), want)
			expect(t, "nothing beside it", take(b, 100))
			if want == poison {
				b.Return("main", []uint64{want}, garbled)
			} else {
				b.Answered("main", want, acked)
			}
		}
		time.Sleep(3 * time.Second)
		expect(t, "alone again", take(b, 100), poison)
		b.Return("main", []uint64{poison}, garbled)
		if e := l.end(t, poison); e.Status != message.Failed || e.Code != "STREAM_ERROR" || e.Attempts != 3 || !strings.Contains(e.Description, garbled.Why) {
			t.Errorf("outcome %+v", e)
		}
		if len(l.outcomes()) != 5 {
			t.Errorf("outcomes %+v", l.outcomes())
		}
	})
}

// Another client of the sender ends connections again and again, while one message is
// in flight and others get through. No message is blamed.
func TestRivalIsNoMessagesFault(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 1)
		for next := uint64(2); next < 60; next++ {
			accept(l, 1)
			expect(t, "together", take(b, 2), 1, next)
			b.Answered("main", next, acked)
			if b.Return("main", []uint64{1}, flow.End{Fault: flow.Rival, Why: "conflict"}) {
				t.Fatal("it is blamed")
			}
		}
		expect(t, "it goes again", take(b, 1), 1)
		b.Answered("main", 1, acked)
	})
}

// Connections with something in flight wait until one of them is empty, and get a
// hint then. That one takes the suspect and nothing else. The others go on.
func TestSuspectGoesAloneOnItsConnection(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 9)
		expect(t, "on 1", takeOn(b, 1, 1), 1)
		expect(t, "on 2", takeOn(b, 2, 1), 2)
		b.Return("main", []uint64{1}, garbled) // and with it ends connection 1
		expect(t, "the others first, on 3", takeOn(b, 3, 2), 3, 4)
		expect(t, "then nothing on 3", takeOn(b, 3, 9))
		expect(t, "nor on 2", takeOn(b, 2, 9))
		b.Answered("main", 3, acked)
		expect(t, "it is not empty", takeOn(b, 3, 9))
		changed := b.Changed("main")
		b.Answered("main", 4, acked)
		if !hinted(changed) {
			t.Error("no hint that one is empty")
		}
		changed = b.Changed("main")
		expect(t, "the suspect", takeOn(b, 3, 9), 1)
		if !hinted(changed) {
			t.Error("no hint that the others may go on")
		}
		expect(t, "nothing beside it", takeOn(b, 3, 9))
		expect(t, "2 goes on", takeOn(b, 2, 2), 5, 6)
		changed = b.Changed("main")
		b.Answered("main", 1, acked)
		if !hinted(changed) {
			t.Error("no hint that it is over")
		}
		expect(t, "so does 3", takeOn(b, 3, 9), 7, 8, 9)
	})
}

// A connection that drains takes nothing more. So a suspect does not wait for what it
// has in flight.
func TestSuspectPassesADrainingConnection(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 6)
		expect(t, "on the one that drains", takeOn(b, 1, 1), 1)
		expect(t, "on the next", takeOn(b, 2, 1), 2)
		b.Return("main", []uint64{2}, garbled)
		expect(t, "the others first", takeOn(b, 3, 1), 3)
		b.Answered("main", 3, acked)
		expect(t, "the suspect", takeOn(b, 3, 9), 2)
		b.Answered("main", 2, acked)
		expect(t, "the rest", takeOn(b, 3, 9), 4, 5, 6)
	})
}

// The probe of a sender that was halted is the only downstream that goes, on any
// connection. It waits for no empty one.
func TestProbePassesWhatIsInFlight(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 6)
		expect(t, "never answered", takeOn(b, 1, 1), 1)
		expect(t, "on another", takeOn(b, 2, 1), 2)
		b.Answered("main", 2, denied)
		time.Sleep(6 * time.Minute)
		expect(t, "the probe", takeOn(b, 1, 9), 3)
		time.Sleep(time.Minute)
		expect(t, "nothing on the other", takeOn(b, 2, 9))
		expect(t, "nor beside it", takeOn(b, 1, 9))
		b.Return("main", []uint64{1, 3}, cut)
		expect(t, "it was lost: another", takeOn(b, 2, 9), 1)
		expect(t, "alone too", takeOn(b, 3, 9))
		b.Answered("main", 1, acked)
		expect(t, "then all", takeOn(b, 2, 9), 2, 3, 4, 5, 6)
	})
}

// The ack of an older message ends the probing while the probe is in flight. The
// others go on: at once, and on the probe's connection after a short while.
func TestProbeOvertakenByAnAnswer(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 5)
		expect(t, "slow", takeOn(b, 1, 1), 1)
		expect(t, "on another", takeOn(b, 2, 1), 2)
		b.Answered("main", 2, denied)
		time.Sleep(6 * time.Minute)
		expect(t, "the probe", takeOn(b, 2, 9), 3)
		time.Sleep(time.Minute)
		b.Answered("main", 1, acked)
		expect(t, "others", takeOn(b, 1, 2), 2, 4)
		expect(t, "beside the probe", takeOn(b, 2, 9), 5)
	})
}

// A message is a suspect when three connections in a row ended without an answer to
// it. From then on each end is an attempt, which is recorded, and a wait follows. At
// the last attempt it fails. Others go on meanwhile.
func TestMessageThatEndsItsConnections(t *testing.T) { // P4, P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const attempts = 15
		accept(l, 3)
		for range 3 {
			expect(t, "together", take(b, 9), 1, 2, 3)
			if b.Return("main", []uint64{1, 2, 3}, cut) {
				t.Error("somebody is suspected too early")
			}
		}
		if len(l.postponed) > 0 {
			t.Errorf("P3: attempts were counted: %+v", l.postponed)
		}
		expect(t, "alone", take(b, 9), 1)
		b.Return("main", []uint64{1}, cut)
		if len(l.postponed) != 1 || l.postponed[0].attempts != 0 {
			t.Errorf("an attempt was counted before another got through: %+v", l.postponed)
		}
		for _, innocent := range []uint64{2, 3} {
			expect(t, "alone", take(b, 9), innocent)
			b.Answered("main", innocent, acked)
		}
		time.Sleep(time.Until(l.postponed[0].due))
		l.postponed = nil
		next := uint64(4)
		for attempt := 1; attempt <= attempts; attempt++ {
			expect(t, "alone", take(b, 9), 1)
			if !b.Return("main", []uint64{1}, cut) {
				t.Error("it is not suspected")
			}
			if attempt == attempts {
				break
			}
			if n := len(l.postponed); n != attempt || l.postponed[n-1].attempts != attempt || l.postponed[n-1].code != "CONNECTION_LOST" {
				t.Fatalf("attempt %d: postponed %+v", attempt, l.postponed)
			}
			if wait := time.Until(l.postponed[attempt-1].due); wait < time.Second {
				t.Errorf("attempt %d: it waits %v, want 1 s at least", attempt, wait)
			}
			accept(l, 1)
			expect(t, "another meanwhile", take(b, 9), next)
			b.Answered("main", next, acked)
			next++
			time.Sleep(time.Until(l.postponed[attempt-1].due))
		}
		if e := l.end(t, 1); e.Status != message.Failed || e.Code != "CONNECTION_LOST" || !strings.Contains(e.Description, "at last: EOF") || e.Attempts != 4+attempts {
			t.Errorf("outcome %+v", e)
		}
		time.Sleep(time.Hour)
		expect(t, "never again", take(b, 9))
	})
}

// Any answer of CCS to a message proves that CCS can read it.
func TestAnswerEndsSuspicion(t *testing.T) { // P3
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 2)
		lose := func() {
			expect(t, "together", take(b, 9), 1, 2)
			b.Return("main", []uint64{1, 2}, cut)
		}
		for range 5 {
			lose()
			lose()
			expect(t, "together", take(b, 9), 1, 2)
			b.Answered("main", 1, draining)
			b.Answered("main", 2, draining)
		}
		expect(t, "together", take(b, 9), 1, 2)
		b.Return("main", []uint64{1, 2}, garbled)
		expect(t, "alone", take(b, 9), 1)
		b.Answered("main", 1, draining)
		expect(t, "the one that was acquitted goes first", take(b, 9), 1)
		b.Answered("main", 1, acked)
		expect(t, "alone", take(b, 9), 2)
	})
}

// A suspect that is never answered keeps its connection to itself for a short while
// only. If others are unanswered beside it when the connection ends, that proves
// nothing, but it is an attempt: the suspect does not go on for ever.
func TestSuspectThatIsNeverAnswered(t *testing.T) { // P4, P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		b.o.Attempts = 3
		accept(l, 1)
		take(b, 1)
		b.Return("main", []uint64{1}, garbled)
		for attempt := range 3 {
			if attempt > 0 {
				time.Sleep(time.Until(l.postponed[attempt-1].due))
			}
			expect(t, "alone", take(b, 9), 1)
			accept(l, 1)
			next := uint64(2 + 2*attempt)
			expect(t, "nothing beside it", take(b, 9))
			changed := b.Changed("main")
			time.Sleep(patience)
			if !hinted(changed) {
				t.Error("no hint that its time is over")
			}
			expect(t, "until then", take(b, 9), next)
			accept(l, 1)
			expect(t, "and another", take(b, 9), next+1)
			b.Answered("main", next+1, acked)
			b.Return("main", []uint64{1, next}, garbled)
			expect(t, "who came later is suspected too", take(b, 9), next)
			b.Answered("main", next, acked)
		}
		if e := l.end(t, 1); e.Status != message.Failed || e.Code != "STREAM_ERROR" || e.Attempts != 4 {
			t.Errorf("outcome %+v", e)
		}
	})
}

// No connection becomes empty, because something in flight is never answered. Then
// the others wait for half of the time at most, and for short times at first. As soon
// as there is a new connection, the suspect goes.
func TestSuspectWithoutAnEmptyConnection(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 1)
		expect(t, "never answered", take(b, 1), 1)
		accept(l, 1)
		expect(t, "on another", takeOn(b, 2, 1), 2)
		b.Return("main", []uint64{2}, garbled)
		const all = time.Minute
		flowed, pause, first := time.Duration(0), time.Duration(0), time.Duration(0)
		for passed := time.Duration(0); passed < all; passed += 50 * time.Millisecond {
			accept(l, 1)
			if got := take(b, 9); len(got) > 0 {
				flowed += 50 * time.Millisecond
				if first == 0 {
					first = pause
				}
				for _, seq := range got {
					b.Answered("main", seq, acked)
				}
			} else {
				pause += 50 * time.Millisecond
			}
			time.Sleep(50 * time.Millisecond)
		}
		if flowed < all*45/100 || flowed > all*9/10 || first > patience+50*time.Millisecond {
			t.Errorf("others went for %v of %v, after a first pause of %v", flowed, all, first)
		}
		time.Sleep(all)
		for len(take(b, 100)) > 0 { // if it is the others' time
		}
		expect(t, "the suspect, on a new connection", takeOn(b, 3, 9), 2)
	})
}

// If answers take longer than patience, no connection is empty within it. So the
// others wait longer each time, until one is.
func TestSuspectBesideSlowAnswers(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const slow = 3 * patience
		accept(l, 1)
		take(b, 1)
		b.Return("main", []uint64{1}, garbled)
		start, due := time.Now(), map[uint64]time.Time{}
		for ; time.Since(start) < 5*time.Minute; time.Sleep(100 * time.Millisecond) {
			accept(l, 1)
			for seq, at := range due {
				if !at.After(time.Now()) {
					b.Answered("main", seq, acked)
					delete(due, seq)
				}
			}
			for _, seq := range take(b, 16) {
				if seq == 1 {
					if d := time.Since(start); d > time.Minute {
						t.Errorf("it went after %v", d)
					}
					return
				}
				due[seq] = time.Now().Add(slow)
			}
		}
		t.Error("it never went")
	})
}

// Many suspects and many others share one connection. Both go on.
func TestSuspectsAndOthersShareTheTime(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const suspects, rtt = 100, 20 * time.Millisecond
		accept(l, suspects)
		b.Return("main", take(b, suspects), garbled)
		start, left, others := time.Now(), suspects, 0
		for ; left > 0; time.Sleep(rtt) { // each answer takes so long
			for next := uint64(len(l.pending)); next < 200; next++ {
				accept(l, 1)
			}
			var got []uint64
			for more := take(b, 16); len(more) > 0; more = take(b, 16) {
				got = append(got, more...)
			}
			for _, seq := range got {
				if seq <= suspects {
					left--
					if len(got) > 1 {
						t.Fatalf("a suspect beside others: %v", got)
					}
				} else {
					others++
				}
				b.Answered("main", seq, acked)
			}
			if time.Since(start) > time.Minute {
				t.Fatalf("%d suspects are left after a minute, %d others went", left, others)
			}
		}
		if took := time.Since(start); others < 10*suspects || took > 5*suspects*rtt {
			t.Errorf("%d suspects took %v, and %d others went meanwhile", suspects, took, others)
		}
	})
}

// A suspect keeps its place in its group.
func TestSuspectKeepsItsGroup(t *testing.T) { // P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 3 {
			l.accept("tokA", 7, -1)
		}
		l.accept("tokA", 8, -1)
		expect(t, "heads", take(b, 9), 1, 4)
		b.Return("main", []uint64{1, 4}, garbled)
		expect(t, "alone", take(b, 9), 1)
		expect(t, "other connections find only the other head", takeOn(b, 2, 9))
		b.Return("main", []uint64{1}, cut) // it waits for its next attempt now
		expect(t, "the other head", take(b, 9), 4)
		b.Answered("main", 4, acked)
		expect(t, "nothing of its group", take(b, 9))
		for round := range 2 {
			time.Sleep(time.Until(l.postponed[round].due))
			expect(t, "again", take(b, 9), 1)
			b.Return("main", []uint64{1}, garbled)
			accept(l, 1)
			for _, other := range take(b, 9) {
				if other == 2 {
					b.Return("main", []uint64{2}, cut)
					continue
				}
				b.Answered("main", other, acked)
			}
		}
		expect(t, "the next", take(b, 9), 2)
		b.Answered("main", 2, acked)
		expect(t, "and the last", take(b, 9), 3)
	})
}

// A suspect expires like any other. Then nobody waits for it.
func TestSuspectExpires(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 1)
		expect(t, "never answered", take(b, 1), 1)
		l.accept("tokA", 0, 0)
		expect(t, "on another", takeOn(b, 2, 1), 2)
		b.Return("main", []uint64{2}, garbled)
		accept(l, 1)
		expect(t, "the others first", take(b, 9), 3)
		accept(l, 1)
		expect(t, "then they wait", take(b, 9))
		changed := b.Changed("main")
		time.Sleep(lastSecond - time.Millisecond) // before the others stop to wait for it
		expect(t, "until it has expired", take(b, 9))
		time.Sleep(time.Millisecond)
		if !hinted(changed) {
			t.Error("no hint")
		}
		expect(t, "at once", take(b, 9), 4)
		if e := l.end(t, 2); e.Status != message.Expired {
			t.Errorf("outcome %+v", e)
		}
		if b.queues["main"].suspects.top() != nil {
			t.Error("it is still queued")
		}
	})
}

// A network that fails again and again makes suspects of good messages, but none of
// them fails.
func TestFlappingNetworkFailsNothing(t *testing.T) { // P3, P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const all = 50
		accept(l, all)
		rnd := rand.New(rand.NewPCG(1, 1))
		isolated, start := 0, time.Now()
		for round := 0; len(l.outcomes()) < all && time.Since(start) < 24*time.Hour; round++ {
			got := take(b, all)
			if len(got) == 1 {
				isolated++
			}
			if round < 3 || rnd.IntN(3) == 0 {
				b.Return("main", got, cut)
			} else {
				for _, seq := range got {
					b.Answered("main", seq, acked)
				}
			}
			time.Sleep(time.Second)
		}
		for seq := range uint64(all) {
			if e := l.end(t, seq+1); e.Status != message.Acked {
				t.Errorf("%d: %+v", seq+1, e)
			}
		}
		if isolated < all {
			t.Errorf("only %d times was one alone", isolated)
		}
	})
}

// A generic condition is no verdict. If nothing else gets through either, a good
// message waits, longer each time, and goes when CCS takes messages again. No attempt
// counts.
func TestQuotaFailsNoGoodMessage(t *testing.T) { // P4, P10
	for name, end := range map[string]flow.End{"policy": policy, "bytes": garbled, "cut": cut} {
		for _, n := range []int{1, 3} {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
				for range n {
					l.accept("tokA", 0, 24*time.Hour)
				}
				start, losses := time.Now(), 0
				for ; time.Since(start) < 12*time.Hour; time.Sleep(time.Second) {
					if got := take(b, 9); len(got) > 0 {
						blamed := b.Return("main", got, end)
						if losses++; losses > n+3 && blamed && end.Fault == flow.Policy {
							t.Fatalf("%s: the end is put down to a message", name)
						}
					}
				}
				if got := l.outcomes(); len(got) > 0 {
					t.Fatalf("%s: outcomes %+v", name, got)
				}
				for range 20 {
					time.Sleep(time.Minute)
					for got := take(b, 9); len(got) > 0; got = take(b, 9) {
						for _, seq := range got {
							b.Answered("main", seq, acked)
						}
					}
				}
				for seq := range uint64(n) {
					if e := l.end(t, seq+1); e.Status != message.Acked {
						t.Errorf("%s: %+v", name, e)
					}
				}
				for _, p := range l.postponed {
					if p.attempts > 0 {
						t.Fatalf("%s: attempts were counted: %+v", name, l.postponed)
					}
				}
			})
		}
	}
}

// The oldest of many suspects is the poison. The others go all the same.
func TestOldestSuspectIsThePoison(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 5)
		b.Return("main", take(b, 5), policy)
		expect(t, "the poison first", take(b, 9), 1)
		if b.Return("main", []uint64{1}, policy) {
			t.Error("blamed without a comparison")
		}
		for _, seq := range []uint64{2, 3, 4, 5} {
			expect(t, "another", take(b, 9), seq)
			b.Answered("main", seq, acked)
		}
		for i := 0; !slices.ContainsFunc(l.outcomes(), func(e entry.End) bool { return e.Seq == 1 }); i++ {
			accept(l, 1)
			for _, seq := range take(b, 9) {
				if seq != 1 {
					b.Answered("main", seq, acked)
				} else if !b.Return("main", []uint64{1}, policy) {
					t.Error("not blamed, although others get through")
				}
			}
			if time.Sleep(time.Second); i > 4*3600 {
				t.Fatal("it never ends")
			}
		}
		if e := l.end(t, 1); e.Status != message.Failed || e.Code != "STREAM_ERROR" || e.Attempts != 17 {
			t.Errorf("outcome %+v", e)
		}
	})
}
