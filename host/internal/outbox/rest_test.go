package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// resting is a refusal because the sender is sent too much.
func resting(after time.Duration) flow.Answer {
	return flow.Answer{Verdict: flow.Rest, Code: "RATE_LIMIT_EXCEEDED", RetryAfter: after}
}

// A sender that is sent too much rests as long as its peer says, or a minute, and at
// most half of that longer. What is refused meanwhile makes the rest longer only if the
// peer asks for that.
func TestRestOfASender(t *testing.T) { // fcm-v1-and-gateway.md A5, A6
	for name, c := range map[string]struct {
		later       time.Duration // when a second refusal comes, after the first
		first, then time.Duration // RetryAfter of the two
		least, most time.Duration // of the rest, after the first
	}{
		"nothing said":           {0, 0, 0, time.Minute, 90 * time.Second},
		"said":                   {0, 20 * time.Second, 0, 20 * time.Second, 30 * time.Second},
		"again, nothing said":    {19 * time.Second, 20 * time.Second, 0, 20 * time.Second, 30 * time.Second},
		"again, shorter":         {time.Second, time.Minute, 10 * time.Second, time.Minute, 90 * time.Second},
		"again, longer":          {time.Second, time.Minute, 5 * time.Minute, 301 * time.Second, 451 * time.Second},
		"an hour is the most":    {0, 7200 * time.Hour, 0, time.Hour, 90 * time.Minute},
		"less than nothing said": {0, -time.Hour, 0, time.Minute, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
				accept(l, 3)
				expect(t, "two", take(b, 2), 1, 2)
				start := time.Now()
				b.Answered("main", 1, resting(c.first))
				time.Sleep(c.later)
				b.Answered("main", 2, resting(c.then))
				changed := b.Changed("main")
				s := b.Stats("main")
				if s.Resting != 1 || s.Halted != 0 || s.RestsUntil.IsZero() {
					t.Errorf("it does not rest: %+v", s)
				}
				time.Sleep(c.least - c.later - time.Millisecond)
				expect(t, "nothing goes", take(b, 9))
				if hinted(changed) {
					t.Error("a hint before the end of the rest")
				}
				<-changed
				if d := time.Since(start); d < c.least || d > c.most || !time.Now().Equal(s.RestsUntil) {
					t.Errorf("it rested %v, want %v to %v, until %v", d, c.least, c.most, s.RestsUntil)
				}
				expect(t, "all go", take(b, 9), 1, 2, 3)
				if s := b.Stats("main"); s.Resting != 0 || !s.RestsUntil.IsZero() {
					t.Errorf("it rests: %+v", s)
				}
				if len(l.postponed) > 0 || b.items[1].Attempts+b.items[2].Attempts > 0 {
					t.Errorf("attempts were counted: %+v", l.postponed)
				}
			})
		})
	}
}

// One sender rests, another goes on. A person who lifts halts ends no rest.
func TestRestIsOfOneSender(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 1)
		expect(t, "one", take(b, 1), 1)
		b.Answered("main", 1, resting(0))
		l.mu.Lock()
		l.last++
		l.pending[2] = entry.Downstream{Seq: 2, Session: "other", MessageID: "d-2"}
		l.bodies[2] = message.Checked{To: message.Token("tokB"), MessageID: "d-2"}
		l.mu.Unlock()
		accept(l, 1)
		synctest.Wait()
		if got := b.Take("other", 1, 9); len(got) != 1 {
			t.Errorf("the other sender has %v", got)
		}
		if lifted := b.Lift(); len(lifted) > 0 {
			t.Errorf("lifted %v", lifted)
		}
		expect(t, "nothing", take(b, 9))
		time.Sleep(90 * time.Second)
		expect(t, "both", take(b, 9), 1, 3)
	})
}

// A wait that the peer asks for is a floor, with some time on top. It is never shorter
// than our own.
func TestRetryAfterIsAFloor(t *testing.T) { // fcm-v1-and-gateway.md A5
	for name, c := range map[string]struct {
		answer      flow.Answer
		least, most time.Duration
	}{
		"retry, shorter than ours": {flow.Answer{Verdict: flow.Retry, RetryAfter: time.Millisecond}, time.Second, 2 * time.Second},
		"retry":                    {flow.Answer{Verdict: flow.Retry, RetryAfter: 40 * time.Second}, 40 * time.Second, time.Minute},
		"retry, in the past":       {flow.Answer{Verdict: flow.Retry, RetryAfter: -time.Minute}, time.Second, 2 * time.Second},
		"retry, far too long":      {flow.Answer{Verdict: flow.Retry, RetryAfter: 48 * time.Hour}, time.Hour, 90 * time.Minute},
		"slow, shorter than ours":  {flow.Answer{Verdict: flow.SlowDown, RetryAfter: time.Second}, time.Minute, 3 * time.Minute},
		"slow":                     {flow.Answer{Verdict: flow.SlowDown, RetryAfter: 10 * time.Minute}, 10 * time.Minute, 15 * time.Minute},
		"slow, far too long":       {flow.Answer{Verdict: flow.SlowDown, RetryAfter: 48 * time.Hour}, time.Hour, 90 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
					accept(l, 1)
					expect(t, "one", take(b, 1), 1)
					b.Answered("main", 1, c.answer)
					if len(l.postponed) != 1 || l.postponed[0].attempts != 1 {
						t.Fatalf("postponed %+v", l.postponed)
					}
					if wait := time.Until(l.postponed[0].due); wait < c.least || wait > c.most || wait > b.longest() {
						t.Errorf("it waits %v, want %v to %v", wait, c.least, c.most)
					}
				})
			}
		})
	}
}

// Refusals of what was in flight when a target began to rest make the rest longer only if the peer asks for that.
func TestRestOfATargetGrowsOnDemand(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 3)
		expect(t, "all", take(b, 3), 1, 2, 3)
		b.Answered("main", 1, flow.Answer{Verdict: flow.SlowDown, RetryAfter: 5 * time.Minute})
		b.Answered("main", 2, flow.Answer{Verdict: flow.SlowDown, RetryAfter: time.Minute})
		until := b.queues["main"].rests[b.items[1].Target].until
		if d := time.Until(until); d != 5*time.Minute {
			t.Errorf("its target rests %v", d)
		}
		b.Answered("main", 3, flow.Answer{Verdict: flow.SlowDown, RetryAfter: 10 * time.Minute})
		if d := time.Until(b.queues["main"].rests[b.items[1].Target].until); d != 10*time.Minute {
			t.Errorf("its target rests %v, want as long as the peer says", d)
		}
	})
}

// A wait past the TTL ends the downstream at once, with the peer's code.
func TestRetryAfterPastTheTTL(t *testing.T) { // P4
	for _, verdict := range []flow.Verdict{flow.Retry, flow.SlowDown, flow.Rest} {
		simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
			l.accept("tokA", 1, time.Minute)
			l.accept("tokA", 1, time.Hour)
			expect(t, "the head", take(b, 9), 1)
			b.Answered("main", 1, flow.Answer{Verdict: verdict, Code: "UNAVAILABLE", Description: "later", RetryAfter: 2 * time.Minute})
			if e := l.end(t, 1); e.Status != message.Expired || e.Code != "UNAVAILABLE" || e.Description != "later" || e.Gone {
				t.Errorf("%v: outcome %+v", verdict, e)
			}
			time.Sleep(4 * time.Minute)
			expect(t, "the next of its group", take(b, 9), 2)
		})
	}
}

// That the target is gone stands in the outcome of what failed.
func TestGone(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		accept(l, 2)
		expect(t, "both", take(b, 2), 1, 2)
		b.Answered("main", 1, unregistered)
		b.Answered("main", 2, malformed)
		if e := l.end(t, 1); e.Status != message.Failed || !e.Gone {
			t.Errorf("outcome %+v", e)
		}
		if e := l.end(t, 2); e.Status != message.Failed || e.Gone {
			t.Errorf("outcome %+v", e)
		}
	})
}

// An ack counts although its downstream was returned before. Any other answer is late.
func TestLateAnswers(t *testing.T) { // P4
	for _, late := range []flow.Answer{acked, unavailable, unregistered, denied, resting(time.Hour), tooFast, draining} {
		simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
			accept(l, 1)
			expect(t, "one", take(b, 1), 1)
			b.Return("main", []uint64{1}, cut)
			b.Answered("main", 1, late)
			if late.Verdict == flow.Acked {
				expect(t, "it has ended", take(b, 1))
				l.end(t, 1)
				return
			}
			expect(t, "it goes again", take(b, 1), 1)
			if len(l.postponed) > 0 || b.items[1].Attempts > 0 {
				t.Errorf("%v: counted", late.Verdict)
			}
		})
	}
}
