package outbox

import (
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/flow"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
)

// actions check what happens to a refused downstream, by the verdict on it.
var actions = map[flow.Verdict]func(t *testing.T, l *ledger, b *Outbox, code string){
	flow.Retry: retried, flow.SlowDown: slowed, flow.Resend: resent, flow.Halt: halted, flow.Fail: failed, flow.Rest: rested,
}

// Of three downstreams, two of them to one target, the first is refused.
func TestVerdicts(t *testing.T) {
	for verdict, action := range actions {
		for _, code := range []string{"SOME_CODE", ""} {
			t.Run(verdict.String()+code, func(t *testing.T) {
				simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
					l.accept("busy", 0, -1)
					l.accept("busy", 0, -1)
					l.accept("calm", 0, -1)
					expect(t, "the first", take(b, 1), 1)
					b.Answered("main", 1, flow.Answer{Verdict: verdict, Code: code, Description: "why"})
					action(t, l, b, code)
				})
			})
		}
	}
}

// retried: it goes again after 1 s or more, the attempt counts, and the schedule is on disk. Others go on.
func retried(t *testing.T, l *ledger, b *Outbox, _ string) {
	if len(l.postponed) != 1 || l.postponed[0].attempts != 1 || time.Until(l.postponed[0].due) < time.Second {
		t.Errorf("postponed %+v", l.postponed)
	}
	expect(t, "the others", take(b, 10), 2, 3)
	time.Sleep(time.Second - time.Millisecond)
	expect(t, "not within a second", take(b, 10))
	time.Sleep(2 * time.Second)
	expect(t, "again", take(b, 10), 1)
}

// slowed: its target rests for minutes, others don't.
func slowed(t *testing.T, l *ledger, b *Outbox, _ string) {
	if len(l.postponed) != 1 || l.postponed[0].attempts != 1 {
		t.Errorf("postponed %+v", l.postponed)
	}
	expect(t, "the other target", take(b, 10), 3)
	time.Sleep(time.Minute - time.Millisecond)
	expect(t, "not within a minute", take(b, 10))
	time.Sleep(5 * time.Minute)
	if got := take(b, 10); len(got) != 2 {
		t.Errorf("after the rest: %v, want 1 and 2", got)
	}
}

// resent: it goes again at once, and no attempt counts, because the connection was at fault.
func resent(t *testing.T, l *ledger, b *Outbox, _ string) {
	expect(t, "at once", take(b, 10), 1, 2, 3)
	if b.items[1].Attempts != 0 || len(l.postponed) != 0 {
		t.Error("counted")
	}
}

// failed: its outcome has the code and the description. Others go on.
func failed(t *testing.T, l *ledger, b *Outbox, code string) {
	expect(t, "the others", take(b, 10), 2, 3)
	e := l.end(t, 1)
	if e.Status != message.Failed || e.Code != code || e.Description != "why" || e.Attempts != 1 {
		t.Errorf("outcome %+v", e)
	}
	time.Sleep(time.Hour)
	expect(t, "never again", take(b, 10))
}

// halted: nothing goes to anybody, until one alone is tried.
func halted(t *testing.T, _ *ledger, b *Outbox, _ string) {
	expect(t, "nobody", take(b, 10))
	time.Sleep(5*time.Minute + time.Second)
	expect(t, "one alone, and another one", take(b, 10), 2)
}

// rested: nothing goes to anybody for a minute. Then all go, with no attempt counted.
func rested(t *testing.T, l *ledger, b *Outbox, _ string) {
	time.Sleep(time.Minute - time.Millisecond)
	expect(t, "nobody", take(b, 10))
	time.Sleep(30 * time.Second)
	expect(t, "all", take(b, 10), 1, 2, 3)
	if b.items[1].Attempts != 0 || len(l.postponed) != 0 {
		t.Error("counted")
	}
}

// An account error stops the sender, and one line says so. Again and again one
// downstream is tried alone, until CCS takes it.
func TestAccountErrorHalts(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		var log lines
		b.log = hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})
		said := func(want int) {
			t.Helper()
			if n := strings.Count(log.String(), "[ERROR] this sender is refused"); n != want {
				t.Errorf("said %d times, want %d: %s", n, want, &log)
			}
		}
		b.o.Senders = func() entry.Senders { return entry.Senders{{Name: "fleet", ID: "main"}} }
		for range 5 {
			l.accept("tokA", 0, -1)
		}
		take(b, 2)
		b.Answered("main", 1, denied)
		b.Answered("main", 2, denied)
		said(1)
		if s := b.Stats("main"); s.HaltedUntil.IsZero() || s.Halted != 1 {
			t.Errorf("not halted: %+v", s)
		}
		for i := range 3 {
			time.Sleep(4 * time.Minute)
			expect(t, "while halted", take(b, 10))
			time.Sleep(2 * time.Minute)
			probe := uint64(3 + i) // each another, as long as there is one
			expect(t, "one alone", take(b, 10), probe)
			expect(t, "nothing beside it", take(b, 10))
			b.Answered("main", probe, denied)
			said(2 + i)
		}
		expect(t, "while halted", take(b, 10))
		if lifted := b.Lift(); !slices.Equal(lifted, []string{"main"}) || b.Lift() != nil {
			t.Errorf("lifted %q, want main, once", lifted)
		}
		expect(t, "one alone at once", take(b, 10), 1)
		expect(t, "nothing beside it", take(b, 10))
		b.Answered("main", 1, acked)
		expect(t, "then the others", take(b, 10), 2, 3, 4, 5)
		if s := b.Stats("main"); !s.HaltedUntil.IsZero() || s.Halted != 0 {
			t.Errorf("still halted: %+v", s)
		}
		if text := log.String(); strings.Count(text, "session=fleet") != 5 || strings.Contains(text, `err=""`) ||
			strings.Count(text, "[INFO]  this sender is taken again: downstreams go on: session=fleet") != 1 {
			t.Errorf("want the session in each line, no empty words, and one line about the end: %s", text)
		}
		if n := b.items[2].Attempts; n != 0 {
			t.Errorf("%d attempts counted for what is the account's fault", n)
		}
	})
}

// If CCS refuses the account over one message and takes the others, the others go
// on. The one is tried again, and fails in the end.
func TestAccountErrorOfOneMessage(t *testing.T) { // P10
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		b.o.Attempts = 3
		l.accept("tokA", 0, -1)
		take(b, 1)
		b.Answered("main", 1, acked) // the account is in good standing
		for range 3 {
			l.accept("tokA", 0, -1)
		}
		expect(t, "three", take(b, 3), 2, 3, 4)
		b.Answered("main", 2, denied)
		b.Answered("main", 3, acked)
		b.Answered("main", 4, acked)
		for next := uint64(5); len(l.ends) < 6; next++ {
			l.accept("tokA", 0, -1)
			got := take(b, 9)
			if len(got) == 0 {
				t.Fatal("the others are stopped")
			}
			for _, seq := range got {
				if seq == 2 {
					b.Answered("main", seq, saying(denied, "who?"))
				} else {
					b.Answered("main", seq, acked)
				}
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(time.Minute)
		take(b, 9)
		b.Answered("main", 2, saying(denied, "who?"))
		if e := l.end(t, 2); e.Status != message.Failed || e.Code != "AUTHENTICATION_FAILED" || e.Attempts != 3 {
			t.Errorf("outcome %+v", e)
		}
	})
}
