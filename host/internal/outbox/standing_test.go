package outbox

import (
	"slices"
	"testing"
	"time"

	"balhost/host/internal/flow"
	"balhost/sdk/message"
)

// Each pending downstream says what it waits for: of several reasons the one that counts.
func TestStanding(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(l *ledger, b *Outbox) (seq uint64)
		want  Reason
		until bool
	}{
		"unknown": {do: func(*ledger, *Outbox) uint64 { return 17 }, want: Unknown},
		"room":    {do: func(l *ledger, _ *Outbox) uint64 { l.accept("a", 0, -1); return l.accept("b", 0, -1) }, want: Room},
		"answer":  {do: func(l *ledger, b *Outbox) uint64 { l.accept("a", 0, -1); return take(b, 1)[0] }, want: Answer},
		"group":   {do: func(l *ledger, _ *Outbox) uint64 { l.accept("a", 7, -1); return l.accept("a", 7, -1) }, want: Group},
		"time":    {do: func(l *ledger, _ *Outbox) uint64 { return l.acceptIn(time.Hour, message.Token("a"), 0, -1) }, want: Time, until: true},
		"due":     {do: answeredOnce(unavailable, "a"), want: Due, until: true},
		"target":  {do: answeredOnce(tooFast, "a"), want: Target, until: true},
		"rest":    {do: answeredOnce(flow.Answer{Verdict: flow.Rest, Code: "RATE_LIMIT_EXCEEDED", RetryAfter: time.Hour}, "b"), want: Rest, until: true},
		"halt":    {do: answeredOnce(denied, "b"), want: Halt, until: true},
		"paused":  {do: func(l *ledger, b *Outbox) uint64 { b.Pause("main"); return l.accept("a", 0, -1) }, want: Paused},
		"paused, in flight": {do: func(l *ledger, b *Outbox) uint64 {
			l.accept("a", 0, -1)
			seq := take(b, 1)[0]
			b.Pause("main")
			return seq
		}, want: Answer},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
				seq := c.do(l, b)
				take(b, 0) // the outbox has read it
				if s := b.Standing(seq); s.For != c.want || c.until != s.Until.After(time.Now()) {
					t.Errorf("%+v, want %d", s, c.want)
				}
			})
		})
	}
}

// answeredOnce sends one downstream, which is answered so, and has another one wait.
func answeredOnce(a flow.Answer, next string) func(l *ledger, b *Outbox) uint64 {
	return func(l *ledger, b *Outbox) uint64 {
		first := l.accept("a", 0, -1)
		take(b, 1)
		b.Answered("main", first, a)
		if next == "a" {
			return first
		}
		return l.accept(next, 0, -1)
	}
}

// What waits for its next attempt can be tried now, with its attempts counted; what waits for
// a target that rests, for its NotBefore or for its group does not go. // P3 P5
func TestTryNow(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		refused, slow := l.accept("a", 7, -1), l.accept("b", 0, -1)
		behind := l.accept("c", 7, -1)
		take(b, 2)
		b.Answered("main", refused, unavailable)
		b.Answered("main", slow, tooFast)
		early := l.acceptIn(time.Hour, message.Token("d"), 0, -1)
		flying := l.accept("e", 0, -1)
		expect(t, "one that is new", take(b, 9), flying)
		all := []uint64{refused, slow, behind, early, flying, 99}
		if got := b.Try(all); !slices.Equal(got, []uint64{refused}) {
			t.Errorf("tried %v, want %d", got, refused)
		}
		if got := b.Try(all); len(got) != 0 {
			t.Errorf("tried again: %v", got)
		}
		got := b.Take("main", 1, 9)
		if len(got) != 1 || got[0].Seq != refused || got[0].Attempt != 2 {
			t.Errorf("%+v", got)
		}
		b.Answered("main", refused, acked)
		l.end(t, refused)
		expect(t, "the one behind it", take(b, 9), behind)
	})
}
