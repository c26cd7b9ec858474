package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/sdk/wire"
)

// TestRefusedEndKeepsWhatTheLedgerHolds: an end that the ledger refuses takes no
// event off its lane that the ledger still has. // P5 P8
func TestRefusedEndKeepsWhatTheLedgerHolds(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		first := b.ledger.upstream("app", "tokA", "1")
		b.upstreams("tokA", "2")
		b.wantIDs(p, "1")
		b.ledger.Lease(first, 99) // as if somebody else had it
		p.done(p.last())
		b.wantIDs(p, "1", "1")
		p.done(p.last())
		b.wantIDs(p, "1", "1", "2")
		p.done(p.last())
		synctest.Wait()
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d events wait for a restart", n)
		}
	})
}

// TestEventThatIsGoneHoldsNoLane: one that the ledger has no more can't be read
// a minute later either.
func TestEventThatIsGoneHoldsNoLane(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		first := b.ledger.upstream("app", "tokA", "1")
		b.upstreams("tokA", "2")
		p := b.echo(done)
		synctest.Wait()
		b.ledger.mu.Lock()
		b.ledger.events = b.ledger.events[1:]
		delete(b.ledger.bodies, first)
		b.ledger.mu.Unlock()
		b.d.Booted()
		b.wantIDs(p, "2")
		if n := b.status().Plugins[0].Pending; n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}

// TestUnreadablePauseHolds: a plugin of which nobody can say whether it is paused gets
// nothing, says why, and goes on as soon as it can be read.
func TestUnreadablePauseHolds(t *testing.T) {
	ledger := newLedger()
	ledger.broken = errors.New("disk says no")
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		b.upstreams("tokA", "1")
		p := b.echo(done)
		time.Sleep(10 * time.Second)
		b.wantIDs(p)
		if st := b.status().Plugins[0]; !st.Paused || st.LastFailure == "" {
			t.Errorf("status says paused %v, %q", st.Paused, st.LastFailure)
		}
		b.ledger.breaks(nil)
		time.Sleep(2 * time.Second)
		b.wantIDs(p, "1")
		if b.status().Plugins[0].Paused {
			t.Error("still paused")
		}
	})
}

// TestPauseIsTrueAfterItsCallerLeft: what is stored is in force, though nobody
// waited for the answer.
func TestPauseIsTrueAfterItsCallerLeft(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done)
		synctest.Wait()
		ledger.mu.Lock()
		ledger.stuck = make(chan struct{})
		ledger.mu.Unlock()
		ctx, leave := context.WithCancel(b.Context())
		answer := make(chan error, 1)
		go func() { answer <- b.d.Pause(ctx, "echo") }()
		synctest.Wait()
		leave()
		<-answer
		close(ledger.stuck)
		synctest.Wait()
		b.upstreams("tokA", "1")
		b.wantIDs(p)
		if !b.status().Plugins[0].Paused {
			t.Error("stored as paused, and not paused")
		}
	})
}

// TestDeadLetterIsNamed: the line about one has the id that "balhost dead show"
// wants, and whose it was.
func TestDeadLetterIsNamed(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		synctest.Wait()
		var log strings.Builder
		b.d.log = hclog.New(&hclog.LoggerOptions{Output: &log})
		b.d.Booted()
		p := b.echo(nil)
		b.upstreams("a-token-that-is-very-long", "7")
		synctest.Wait()
		p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_REJECT, Error: "no such room"})
		synctest.Wait()
		for _, want := range []string{"event goes to the dead letters", " id=e-7 ", " msg_id=7 ", `device="a-token-that-is-…"`, "no such room"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in %s", want, &log)
			}
		}
	})
}

// TestRetryIsNamed: so is what comes again.
func TestRetryIsNamed(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("a-token-that-is-very-long", "7")
		synctest.Wait()
		p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_RETRY, DelayMs: -1, Error: "no database"})
		synctest.Wait()
		for _, want := range []string{"event was not handled, it comes again", " id=e-7 ", " msg_id=7 ", `device="a-token-that-is-…"`, "no database"} {
			if !strings.Contains(b.log.String(), want) {
				t.Errorf("no %q in %s", want, b.log)
			}
		}
	})
}

// TestStuckHandlerIsTold: once, and of many one in a while, with their number.
func TestStuckHandlerIsTold(t *testing.T) {
	booted(t, func(b *bench) {
		b.echo(nil)
		for n, wait := range []time.Duration{5 * time.Second, 40 * time.Second, 2 * time.Minute} { // the time is up after 30 s
			b.ledger.upstream("app", fmt.Sprint("token-", n), fmt.Sprint(n))
			time.Sleep(wait)
		}
		synctest.Wait()
		var lines []string
		for line := range strings.Lines(b.log.String()) {
			if strings.Contains(line, "a handler goes on after its time is up") {
				lines = append(lines, line)
			}
		}
		if len(lines) != 2 {
			t.Fatalf("%d lines:\n%s", len(lines), b.log)
		}
		for i, want := range [][]string{
			{" id=e-0 ", " msg_id=0 ", " device=token-0 ", " plugin=echo ", " lane=token-0 ", " attempt=1 ", " took=31s ", " unsaid=0"},
			{" id=e-2 ", " device=token-2 ", " unsaid=1"},
		} {
			for _, part := range want {
				if !strings.Contains(lines[i], part) {
					t.Errorf("no %q in %s", part, lines[i])
				}
			}
		}
	})
}
