package outbox

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"

	"github.com/hashicorp/go-hclog"
)

// actions check what happens to a nacked downstream, by code: every row of
// ccs-protocol.md §4.1.
var actions = map[string]func(t *testing.T, l *ledger, b *Outbox, code string){
	"SERVICE_UNAVAILABLE": retried, "INTERNAL_SERVER_ERROR": retried, "NEVER_HEARD_OF": retried, "": retried,
	"DEVICE_MESSAGE_RATE_EXCEEDED": slowed, "TOPICS_MESSAGE_RATE_EXCEEDED": slowed, "QUOTA_EXCEEDED": slowed,
	"CONNECTION_DRAINING": resent, "AUTHENTICATION_FAILED": halted,
	"INVALID_JSON": failed, "INVALID_TTL": failed, "JSON_TYPE_ERROR": failed, "InvalidJson": failed, "BAD_ACK": failed,
	"BAD_REGISTRATION": failed, "DEVICE_UNREGISTERED": failed, "SENDER_ID_MISMATCH": failed, "INVALID_APNS_CREDENTIAL": failed,
}

// Of three downstreams, two of them to one target, the first is nacked.
func TestVerdicts(t *testing.T) { // ccs-protocol.md §4.1
	for code, action := range actions {
		t.Run(code, func(t *testing.T) {
			simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
				l.accept("busy", 0, -1)
				l.accept("busy", 0, -1)
				l.accept("calm", 0, -1)
				expect(t, "the first", take(b, 1), 1)
				b.Nacked("main", 1, code, "why")
				action(t, l, b, code)
			})
		})
	}
}

// Every code in the table of the document is known here.
func TestVerdictsAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../ccs/ccs-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "### 4.1 Nack codes")
	table, _, _ = strings.Cut(table, "### 4.2")
	codes := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(table, -1) {
		for _, code := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(row[1], -1) {
			codes++
			if actions[code[1]] == nil {
				t.Errorf("no action for %s", code[1])
			}
		}
	}
	if codes != 15 {
		t.Errorf("%d codes in the document's table, want 15", codes)
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

// An account error stops the sender, and one line says so. Again and again one
// downstream is tried alone, until CCS takes it.
func TestAccountErrorHalts(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		var log lines
		b.log = hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})
		said := func(want int) {
			t.Helper()
			if n := strings.Count(log.String(), "[ERROR] CCS refuses this sender"); n != want {
				t.Errorf("said %d times, want %d: %s", n, want, &log)
			}
		}
		b.o.Senders = func() entry.Senders { return entry.Senders{{Name: "fleet", ID: "main"}} }
		for range 5 {
			l.accept("tokA", 0, -1)
		}
		take(b, 2)
		b.Nacked("main", 1, "AUTHENTICATION_FAILED", "")
		b.Nacked("main", 2, "AUTHENTICATION_FAILED", "")
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
			b.Nacked("main", probe, "AUTHENTICATION_FAILED", "")
			said(2 + i)
		}
		expect(t, "while halted", take(b, 10))
		if lifted := b.Lift(); !slices.Equal(lifted, []string{"main"}) || b.Lift() != nil {
			t.Errorf("lifted %q, want main, once", lifted)
		}
		expect(t, "one alone at once", take(b, 10), 1)
		expect(t, "nothing beside it", take(b, 10))
		b.Acked("main", 1, "")
		expect(t, "then the others", take(b, 10), 2, 3, 4, 5)
		if s := b.Stats("main"); !s.HaltedUntil.IsZero() || s.Halted != 0 {
			t.Errorf("still halted: %+v", s)
		}
		if text := log.String(); strings.Count(text, "session=fleet") != 5 || strings.Contains(text, `err=""`) ||
			strings.Count(text, "[INFO]  CCS takes this sender again: downstreams go on: session=fleet") != 1 {
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
		b.Acked("main", 1, "") // the account is in good standing
		for range 3 {
			l.accept("tokA", 0, -1)
		}
		expect(t, "three", take(b, 3), 2, 3, 4)
		b.Nacked("main", 2, "AUTHENTICATION_FAILED", "")
		b.Acked("main", 3, "")
		b.Acked("main", 4, "")
		for next := uint64(5); len(l.ends) < 6; next++ {
			l.accept("tokA", 0, -1)
			got := take(b, 9)
			if len(got) == 0 {
				t.Fatal("the others are stopped")
			}
			for _, seq := range got {
				if seq == 2 {
					b.Nacked("main", seq, "AUTHENTICATION_FAILED", "who?")
				} else {
					b.Acked("main", seq, "")
				}
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(time.Minute)
		take(b, 9)
		b.Nacked("main", 2, "AUTHENTICATION_FAILED", "who?")
		if e := l.end(t, 2); e.Status != message.Failed || e.Code != "AUTHENTICATION_FAILED" || e.Attempts != 3 {
			t.Errorf("outcome %+v", e)
		}
	})
}
