package outbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

func TestOldestFirst(t *testing.T) { // P3
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 5 {
			l.accept("tokA", 0, -1)
		}
		expect(t, "first", take(b, 2), 1, 2)
		expect(t, "next", take(b, 10), 3, 4, 5)
		b.Return("main", []uint64{4, 2}, cut)
		l.accept("tokA", 0, -1)
		expect(t, "what came back goes before what is new", take(b, 10), 2, 4, 6)
		b.Answered("main", 1, flow.Answer{Verdict: flow.Acked, NewToken: "tokB"})
		b.Answered("main", 1, acked)            // twice
		b.Answered("main", 99, unavailable)     // unknown
		b.Return("main", []uint64{1, 500}, cut) // late
		synctest.Wait()
		if e := l.end(t, 1); e.Status != message.Acked || e.NewToken != "tokB" || e.Attempts != 1 {
			t.Errorf("outcome %+v", e)
		}
		b.Answered("main", 2, acked)
		if e := l.end(t, 2); e.Attempts != 2 {
			t.Errorf("written twice, but the outcome says %d", e.Attempts)
		}
	})
}

// An end that the ledger does not take is recorded later. So the next of its group
// need not wait for a restart.
func TestRefusedEndIsRecordedLater(t *testing.T) { // P4, P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 1, -1)
		l.accept("tokA", 1, -1)
		l.accept("tokB", 0, time.Second)
		expect(t, "the head", take(b, 1), 1)
		l.refuse = 3
		b.Answered("main", 1, flow.Answer{Verdict: flow.Acked, NewToken: "tokB"})
		time.Sleep(10 * time.Minute) // the third expires meanwhile
		if e := l.end(t, 1); e.Status != message.Acked || e.NewToken != "tokB" || e.Attempts != 1 || l.refused != 3 {
			t.Errorf("outcome %+v after %d refusals", e, l.refused)
		}
		if e := l.end(t, 3); e.Status != message.Expired {
			t.Errorf("outcome %+v", e)
		}
		expect(t, "the next of the group", take(b, 10), 2)
		if s := b.Stats(); s.Pending != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestChangedIsClosedWhenThereIsMore(t *testing.T) { // P0
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		hint := func(what string, do func()) {
			t.Helper()
			changed := b.Changed("main")
			do()
			synctest.Wait()
			select {
			case <-changed:
			default:
				t.Errorf("no hint after %s", what)
			}
		}
		hint("accept", func() { l.accept("tokA", 7, -1) })
		l.accept("tokA", 7, -1)
		expect(t, "head", take(b, 10), 1)
		hint("the end of a group's head", func() { b.Answered("main", 1, acked) })
		expect(t, "next", take(b, 10), 2)
		hint("return", func() { b.Return("main", []uint64{2}, cut) })
		take(b, 10)
		hint("retry", func() { b.Answered("main", 2, unavailable); time.Sleep(3 * time.Second) })
		expect(t, "again", take(b, 10), 2)
	})
}

// Of a group only the head is in flight, until its outcome is on disk. Groups don't
// wait for each other.
func TestGroupsGoOneAfterTheOther(t *testing.T) { // P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for range 3 {
			l.accept("tokA", 1, -1)
			l.accept("tokB", 2, -1)
		}
		expect(t, "heads", take(b, 10), 1, 2)
		expect(t, "nobody else", take(b, 10))

		b.Answered("main", 1, unavailable)  // a head that waits holds its group alone
		b.Answered("main", 2, unregistered) // any outcome frees the next
		expect(t, "the other group's next", take(b, 10), 4)

		l.mu.Lock()
		l.hold = true
		l.mu.Unlock()
		b.Answered("main", 4, acked)
		expect(t, "not before the commit", take(b, 10))
		l.release()
		expect(t, "after the commit", take(b, 10), 6)

		time.Sleep(3 * time.Second)
		expect(t, "the first again", take(b, 10), 1)
		b.Return("main", []uint64{1}, cut)
		expect(t, "and again", take(b, 10), 1)
		b.Answered("main", 1, acked)
		expect(t, "its next", take(b, 10), 3)
	})
}

func TestExpiredInsideAGroup(t *testing.T) { // P4, P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 1, -1)
		l.accept("tokA", 1, 10*time.Second)
		l.accept("tokA", 1, -1)
		expect(t, "head", take(b, 10), 1)
		time.Sleep(time.Minute)
		if e := l.end(t, 2); e.Status != message.Expired || e.Attempts != 0 {
			t.Errorf("outcome %+v", e)
		}
		b.Answered("main", 1, acked)
		expect(t, "the one after the expired", take(b, 10), 3)
	})
}

// There are thousands of groups at once, and the heads of half of them are refused
// for now. The other groups don't wait for them.
func TestManyGroups(t *testing.T) { // P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const groups, each = 5000, 3
		for range each {
			for g := range uint64(groups) {
				l.accept(fmt.Sprint("tok", g), g+1, -1)
			}
		}
		next := map[uint64]uint64{} // group to the seq that must go next
		for g := range uint64(groups) {
			next[g] = g + 1
		}
		for range 2 * groups * each {
			for _, seq := range take(b, 100) {
				g := (seq - 1) % groups
				if next[g] != seq {
					t.Fatalf("P5: %d of group %d, want %d", seq, g, next[g])
				}
				if b.items[seq].Attempts == 0 && g%2 == 0 {
					b.Answered("main", seq, unavailable)
					continue
				}
				b.Answered("main", seq, acked)
				next[g] += groups
			}
			if len(l.outcomes()) == groups/2*each { // all of the odd groups, while the even ones wait
				break
			}
		}
		if s := b.Stats(); s.Later != groups/2 || len(l.outcomes()) != groups/2*each {
			t.Fatalf("%d outcomes, %+v", len(l.outcomes()), s)
		}
		time.Sleep(3 * time.Second)
		if n := len(take(b, groups)); n != groups/2 {
			t.Errorf("%d heads go again, want %d", n, groups/2)
		}
	})
}

func TestExpiryBehindAHead(t *testing.T) { // P4, P5
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const all = 50_000
		for i := range all {
			ttl := time.Duration(-1)
			if i > 0 && i < all-1 {
				ttl = time.Minute
			}
			l.accept("tokA", 1, ttl)
		}
		expect(t, "head", take(b, 10), 1)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(l.outcomes()); n != all-2 {
			t.Errorf("%d expired, want %d", n, all-2)
		}
		b.Answered("main", 1, acked)
		expect(t, "the last", take(b, 10), all)
	})
}

// The waits grow, each is on disk, and after 15 attempts the downstream fails.
func TestRetryThenFail(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		last := time.Now()
		for i := 1; i <= 15; i++ {
			for len(take(b, 1)) == 0 {
				<-b.Changed("main")
			}
			if wait := time.Since(last); i > 1 && (wait < time.Second || wait > 10*time.Minute) {
				t.Errorf("attempt %d came after %v", i, wait)
			}
			last = time.Now()
			b.Answered("main", 1, saying(unavailable, "busy"))
		}
		if len(l.postponed) != 14 {
			t.Fatalf("postponed %d times, want 14", len(l.postponed))
		}
		for i, p := range l.postponed {
			if p.attempts != i+1 || p.code != "SERVICE_UNAVAILABLE" {
				t.Errorf("postponed %+v", p)
			}
		}
		if e := l.end(t, 1); e.Status != message.Failed || e.Code != "SERVICE_UNAVAILABLE" || e.Description != "busy" || e.Attempts != 15 {
			t.Errorf("outcome %+v", e)
		}
	})
}

// What the ledger says about attempts and due times holds after a restart.
func TestScheduleOutlivesARestart(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		expect(t, "first", take(b, 1), 1)
		b.Answered("main", 1, internal)
		again := New(Options{Ledger: l})
		again.load()
		if n := len(again.Take("main", 1, 1)); n != 0 {
			t.Error("it goes before it is due")
		}
		time.Sleep(time.Minute)
		again.advance(time.Now())
		if n := len(again.Take("main", 1, 1)); n != 1 {
			t.Error("it does not go when it is due")
		}
		if again.items[1].Attempts != 1 {
			t.Errorf("%d attempts, want 1", again.items[1].Attempts)
		}
	})
}

func TestRefusedStanza(t *testing.T) { // ccs-protocol.md §4.2
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		l.accept("tokA", 0, -1)
		take(b, 2)
		b.Answered("main", 1, saying(stanza, "400 bad-request"))
		b.Answered("main", 2, flow.Answer{Verdict: flow.Retry, Code: "STANZA_ERROR", Description: "resource-constraint"})
		if e := l.end(t, 1); e.Status != message.Failed || e.Code != "STANZA_ERROR" || e.Description != "400 bad-request" {
			t.Errorf("outcome %+v", e)
		}
		time.Sleep(3 * time.Second)
		expect(t, "the one to wait", take(b, 2), 2)
	})
}

// A target that is sent too much rests for minutes; others don't.
func TestSlowDownOfOneTarget(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("busy", 0, -1)
		l.accept("busy", 0, -1)
		expect(t, "two", take(b, 10), 1, 2)
		b.Answered("main", 1, tooFast)
		b.Answered("main", 2, tooFast) // in flight already: the rest grows no longer
		if r := b.queues["main"].rests[entry.TargetHash("main", message.Token("busy"))]; r.times != 1 {
			t.Errorf("%d rests, want 1", r.times)
		}
		l.accept("busy", 0, -1)
		l.accept("calm", 0, -1)
		expect(t, "the calm one", take(b, 10), 4)
		time.Sleep(59 * time.Second)
		expect(t, "nobody within a minute", take(b, 10))
		time.Sleep(5 * time.Minute)
		got := take(b, 10)
		slices.Sort(got)
		expect(t, "then all", got, 1, 2, 3)
		b.Answered("main", 1, acked)
		if n := len(b.queues["main"].rests); n != 0 {
			t.Errorf("%d targets rest after an ack", n)
		}
	})
}

// Tokens, topics and conditions rest each for itself, also of the same name.
func TestEachTargetRestsAlone(t *testing.T) {
	targets := []message.Target{
		message.Token("news"), message.Topic("news"), message.Topic("sport"), message.Condition("'news' in topics"), message.Condition("'sport' in topics"),
	}
	for i, busy := range targets {
		simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
			l.acceptTo(busy, 0, -1)
			expect(t, "the first", take(b, 1), 1)
			b.Answered("main", 1, tooFast)
			var want []uint64
			for j, to := range targets {
				if seq := l.acceptTo(to, 0, -1); j != i {
					want = append(want, seq)
				}
			}
			expect(t, fmt.Sprintf("beside %+v", busy), take(b, 10), want...)
		})
	}
}

// What rests is passed over, however many are before the first that may go, and
// none of them is read.
func TestRestingTargetIsNoHeadOfLine(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		const busy, looks = 3*mostMoved - 1, 3
		l.accept("busy", 0, -1)
		l.accept("calm", 0, -1)
		expect(t, "two", take(b, 2), 1, 2) // the first stays in flight for now
		for range busy {
			l.accept("busy", 0, -1)
		}
		calm := l.accept("calm", 0, -1)
		synctest.Wait()
		b.Answered("main", 1, tooFast) // the others are ready by now
		l.reads = 0
		for range looks - 1 {
			changed := b.Changed("main")
			expect(t, "nothing yet", take(b, 16))
			if !hinted(changed) {
				t.Fatal("no hint that there is more")
			}
		}
		expect(t, "the calm one", take(b, 16), calm)
		if l.reads != 1 {
			t.Errorf("%d messages were read for one", l.reads)
		}
		if b.Stats().Later != busy+1 {
			t.Errorf("%+v", b.Stats())
		}
	})
}

// A suspect whose target rests is not tried, and holds up nobody.
func TestRestingSuspectIsNotTried(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for _, token := range []string{"busy", "busy", "calm"} {
			l.accept(token, 0, -1)
		}
		expect(t, "all", take(b, 3), 1, 2, 3)
		b.Return("main", []uint64{2}, garbled)
		b.Answered("main", 1, tooFast)
		b.Answered("main", 3, acked)
		expect(t, "no suspect", take(b, 9))
		l.accept("calm", 0, -1)
		expect(t, "the calm one on a connection", take(b, 1), 4)
		l.accept("calm", 0, -1)
		expect(t, "and another beside it", take(b, 1), 5)
		b.Answered("main", 4, acked)
		b.Answered("main", 5, acked)
		time.Sleep(time.Hour)
		expect(t, "alone, when it has rested", take(b, 9), 2)
	})
}

// A downstream whose target rests is not the probe, even if CCS refused the account over it least often.
func TestRestingProbe(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		for _, token := range []string{"busy", "calm", "busy"} {
			l.accept(token, 0, -1)
		}
		expect(t, "two", take(b, 2), 1, 2)
		b.Answered("main", 1, tooFast)
		b.Answered("main", 2, denied) // CCS knows the account: it has said so of the first
		time.Sleep(3 * time.Second)
		expect(t, "the calm one again", take(b, 1), 2)
		b.Answered("main", 2, denied)
		if lifted := b.Lift(); len(lifted) != 1 {
			t.Fatal("it was not halted")
		}
		expect(t, "the calm one is the probe", take(b, 9), 2)
	})
}

// A due time in another year comes from a clock that was wrong.
func TestDueTimeOfAWrongClock(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.mu.Lock()
		l.last = 1
		l.pending[1] = entry.Downstream{Seq: 1, Session: "main", MessageID: "d-1", Due: time.Now().Add(365 * 24 * time.Hour)}
		l.bodies[1] = message.Checked{To: message.Token("tokA"), MessageID: "d-1"}
		l.mu.Unlock()
		again := New(Options{Ledger: l})
		again.load()
		time.Sleep(again.longest())
		again.advance(time.Now())
		if n := len(again.Take("main", 1, 1)); n != 1 {
			t.Error("it waits for the year to pass")
		}
	})
}

func TestExpiry(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, time.Minute)
		l.accept("tokA", 0, time.Hour)
		l.accept("tokA", 0, time.Minute)
		expect(t, "one in flight", take(b, 1), 1)
		time.Sleep(10 * time.Minute)
		if e := l.end(t, 3); e.Status != message.Expired {
			t.Errorf("outcome %+v", e)
		}
		if len(l.outcomes()) != 1 {
			t.Fatalf("in flight nothing expires: %+v", l.outcomes())
		}
		b.Return("main", []uint64{1}, cut)
		expect(t, "after its connection ended it has expired", take(b, 1), 2)
		if e := l.end(t, 1); e.Status != message.Expired || e.Attempts != 1 {
			t.Errorf("outcome %+v", e)
		}
		b.Return("main", []uint64{2}, cut)
		got := b.Take("main", 1, 1)
		if len(got) != 1 || *got[0].TTL != 50*time.Minute {
			t.Errorf("the remaining time is %v, want 50m", got)
		}
	})
}

func TestRetryNeverGoesPastTheTTL(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, 0)
		take(b, 1)
		b.Answered("main", 1, saying(internal, "sorry"))
		if e := l.end(t, 1); e.Status != message.Expired || e.Code != "INTERNAL_SERVER_ERROR" {
			t.Errorf("outcome %+v", e)
		}
	})
}

// TTL 0 is "now or never": tried if there is a connection, and not the same as none.
func TestTTLZero(t *testing.T) { // P4
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, 0)
		l.accept("tokA", 0, -1)
		synctest.Wait()
		got := b.Take("main", 1, 1)
		if len(got) != 1 || got[0].TTL == nil || *got[0].TTL != 0 {
			t.Fatalf("got %+v, want one with TTL 0", got)
		}
		if got = b.Take("main", 1, 1); len(got) != 1 || got[0].TTL != nil {
			t.Fatalf("got %+v, want one without TTL", got)
		}
		time.Sleep(time.Hour) // in flight
		b.Answered("main", 1, acked)
		if e := l.end(t, 1); e.Status != message.Acked {
			t.Errorf("outcome %+v", e)
		}
		l.accept("tokA", 0, 0)
		time.Sleep(2 * time.Second)
		expect(t, "nobody came for it", take(b, 1))
		if e := l.end(t, 3); e.Status != message.Expired {
			t.Errorf("outcome %+v", e)
		}
	})
}

func TestGoneFromTheLedger(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 1, -1)
		l.accept("tokA", 1, -1)
		synctest.Wait()
		l.mu.Lock()
		delete(l.bodies, 1)
		l.mu.Unlock()
		expect(t, "its group goes on", take(b, 1), 2)
	})
}

// With random answers every downstream ends once, in order within its group, and
// nothing is left in the queue.
func TestEveryDownstreamEndsOnce(t *testing.T) { // P4, P5
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) { churn(t, seed, l, b) })
		})
	}
}

func churn(t *testing.T, seed uint64, l *ledger, b *Outbox) {
	const all = 400
	rnd := rand.New(rand.NewPCG(seed, 1))
	group := map[uint64]uint64{}
	links := map[int][]uint64{} // in flight, by connection
	for step := 0; len(group) < all || len(l.outcomes()) < all; step++ {
		if step > 100_000 {
			t.Fatalf("stuck: %d of %d ended, %+v", len(l.outcomes()), all, b.Stats())
		}
		if n := rnd.IntN(8); len(group) < all && n < 3 {
			ttl := time.Duration(-1)
			if n == 0 {
				ttl = time.Duration(rnd.IntN(100)) * time.Second
			}
			g := uint64(rnd.IntN(20))
			group[l.accept(fmt.Sprint("tok", rnd.IntN(5)), g, ttl)] = g
		}
		if rnd.IntN(4) == 0 {
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
		}
		conn := rnd.IntN(3)
		out := links[conn]
		got := takeOn(b, conn, rnd.IntN(5))
		b.mu.Lock()
		for _, seq := range got {
			if b.items[seq].suspect() && len(out)+len(got) > 1 {
				t.Errorf("P10: a suspect, %d, goes beside others: %v, %v", seq, out, got)
			}
		}
		b.mu.Unlock()
		out = append(out, got...)
		links[conn] = out
		busy := map[uint64]bool{}
		for _, out := range links {
			for _, seq := range out {
				if g := group[seq]; g != 0 && busy[g] {
					t.Fatalf("P5: two of group %d are out: %v", g, links)
				} else {
					busy[g] = true
				}
			}
		}
		if len(out) == 0 || rnd.IntN(2) == 0 {
			continue
		}
		i := rnd.IntN(len(out))
		seq := out[i]
		switch rnd.IntN(12) {
		case 0:
			b.Answered("main", seq, unavailable)
		case 1:
			b.Answered("main", seq, unregistered)
		case 2:
			b.Answered("main", seq, tooFast)
		case 3:
			b.Answered("main", seq, draining)
		case 4:
			b.Return("main", out, cut)
			out = nil
		case 5:
			b.Return("main", out, garbled)
			out = nil
		default:
			b.Answered("main", seq, acked)
		}
		if out != nil {
			out = slices.Delete(out, i, i+1)
		}
		links[conn] = out
	}
	synctest.Wait()
	last := map[uint64]uint64{}
	for _, e := range l.outcomes() {
		if g := group[e.Seq]; g != 0 && e.Status != message.Expired {
			if e.Seq < last[g] {
				t.Errorf("P5: %d of group %d ended after %d", e.Seq, g, last[g])
			}
			last[g] = e.Seq
		}
	}
	for seq := range group {
		l.end(t, seq)
	}
	if s := b.Stats(); s.Pending != 0 || s.Ready != 0 || s.Later != 0 || s.Taken != 0 || s.Groups != 0 || len(b.queues["main"].expiring.items) != 0 {
		t.Errorf("left behind: %+v, %d expiring", s, len(b.queues["main"].expiring.items))
	}
	if s := b.queues["main"]; len(s.held) != 0 || s.suspects.top() != nil || s.trial.State() == flow.Alone {
		t.Errorf("left behind: held %v, trial %v", s.held, s.trial.State())
	}
}

func BenchmarkTakeAndAck(b *testing.B) {
	for _, groups := range []uint64{0, 5000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			l := newLedger()
			for i := range b.N {
				g := uint64(0)
				if groups > 0 {
					g = 1 + uint64(i)%groups
				}
				l.accept("tokA", g, time.Hour)
			}
			o := New(Options{Ledger: l})
			o.load()
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; {
				for _, g := range o.Take("main", 1, 16) {
					o.Answered("main", g.Seq, acked)
					done++
				}
			}
		})
	}
}
