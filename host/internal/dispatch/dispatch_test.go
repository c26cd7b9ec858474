package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/host/internal/status"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

func TestLaneIsHandledInOrder(t *testing.T) { // P5
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.upstreams("bert", "b1")
		b.wantIDs(p, "a1", "b1") // one of each device at a time
		p.result(&wire.Result{Delivery: p.deliveries()[0].Delivery, Code: wire.Result_RETRY, DelayMs: 5000, Error: "not now"})
		b.wantIDs(p, "a1", "b1")
		time.Sleep(6 * time.Second) // bubble time
		b.wantIDs(p, "a1", "b1", "a1")
		if again := p.last(); again.Attempt != 2 {
			t.Errorf("attempt %d, want 2", again.Attempt)
		}
		p.done(p.last())
		b.wantIDs(p, "a1", "b1", "a1", "a2")
	})
}

// TestLanesUnderFaults has a plugin that retries, releases and dies at random,
// and looks at every handing out: no event of a lane before the one ahead of it
// is done, none twice at a time. // P5
func TestLanesUnderFaults(t *testing.T) {
	for seed := range uint64(20) {
		booted(t, func(b *bench) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			next := map[string]int{} // by device: the number that must come
			held := map[string]bool{}
			var p *process
			restart := func() {
				p = b.echo(func(p *process, m *wire.Delivery) {
					from, n := m.GetUpstream().Device, m.GetUpstream().MessageId
					if want := fmt.Sprintf("%s-%d", from, next[from]); n != want || held[from] {
						t.Errorf("seed %d: handed %s while %s is next (held: %v)", seed, n, want, held[from])
					}
					held[from] = true
				}, func(f *instance.Facts) { f.MaxAttempts, f.SuspectAfter = 0, 0 })
			}
			restart()
			for i := range 300 {
				device := fmt.Sprint("d", i%7)
				b.ledger.upstream("app", device, fmt.Sprintf("%s-%d", device, i/7))
			}
			answered := map[uint64]bool{}
			for steps := 0; b.ledger.pending() > 0; steps++ {
				synctest.Wait()
				if steps > 20000 {
					t.Fatalf("seed %d: %d events still pending", seed, b.ledger.pending())
				}
				var open []*wire.Delivery
				for _, m := range p.deliveries() {
					if !answered[m.Delivery] {
						open = append(open, m)
					}
				}
				if len(open) == 0 {
					time.Sleep(time.Second)
					continue
				}
				m := open[rnd.IntN(len(open))]
				answered[m.Delivery] = true
				from := m.GetUpstream().Device
				switch rnd.IntN(10) {
				case 0:
					held[from] = false
					p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: 10})
				case 1:
					held[from] = false
					p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RELEASE})
				case 2:
					clear(held)
					dead := p.plugin
					dead.Gone("killed")
					restart()
					dead.Frame(&wire.PluginFrame{Done: []uint64{m.Delivery}}) // too late
				default:
					held[from] = false
					next[from]++
					p.done(m)
				}
			}
		}, little(seed))
	}
}

func TestStuckLaneAndPluginSlowNoOther(t *testing.T) { // P5, P10
	booted(t, func(b *bench) {
		stuck := b.plugin("stuck", "a", nil)
		half := b.plugin("half", "b", func(p *process, m *wire.Delivery) {
			if m.GetUpstream().Device != "slow" {
				p.done(m)
			}
		})
		b.ledger.upstream("b", "slow", "s0")
		for i := range 50 {
			b.ledger.upstream("a", fmt.Sprint("d", i), fmt.Sprint(i))
			b.ledger.upstream("b", "slow", fmt.Sprint("s", i+1))
			b.ledger.upstream("b", "fast", fmt.Sprint("f", i))
		}
		synctest.Wait()
		if got := len(stuck.deliveries()); got != 8 {
			t.Errorf("stuck plugin holds %d, its credit is 8", got)
		}
		if got := len(half.deliveries()); got != 51 {
			t.Errorf("half was handed %d, want all of fast and one of slow", got)
		}
	})
}

func TestMaxAttemptsThenDead(t *testing.T) { // P8
	booted(t, func(b *bench) {
		b.echo(func(p *process, m *wire.Delivery) {
			if m.GetUpstream().MessageId == "good" {
				p.done(m)
				return
			}
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: -1, Error: "no such room"})
		})
		b.upstreams("anna", "bad", "good")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		ends := b.ledger.ends()
		if len(ends) != 4 {
			t.Fatalf("ends: %+v", ends)
		}
		for i, s := range ends[:2] {
			if s.Verdict != entry.Retry || s.Due.IsZero() {
				t.Errorf("end %d: %+v, want a retry with a due time", i, s)
			}
		}
		if s := ends[2]; s.Verdict != entry.Dead || s.Reason != "no such room" {
			t.Errorf("third attempt: %+v, want dead with its reason", s)
		}
		if s := ends[3]; s.Verdict != entry.Done {
			t.Errorf("the lane does not go on: %+v", s)
		}
		if s := b.status().Plugins[0]; s.LastFailure != "no such room" || s.LastFailureAt.IsZero() {
			t.Errorf("status does not tell of the failure: %+v", s)
		}
		if s := b.status().Plugins[0].Troubles; len(s) != 1 || s[0].Reason != "no such room" || s[0].Again != 2 || s[0].Ended != 1 {
			t.Errorf("troubles: %+v, want one, of 2 attempts that were tried again and one dead letter", s)
		}
	})
}

func TestRejectIsDeadAtOnce(t *testing.T) { // P8
	booted(t, func(b *bench) {
		b.echo(func(p *process, m *wire.Delivery) {
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_REJECT, Error: "broken"})
		})
		b.upstreams("anna", "1")
		synctest.Wait()
		if ends := b.ledger.ends(); len(ends) != 1 || ends[0].Verdict != entry.Dead || !strings.Contains(ends[0].Reason, "broken") {
			t.Errorf("ends: %+v", ends)
		}
	})
}

func TestConflictRunsAgainWithoutAttempt(t *testing.T) { // P7
	booted(t, func(b *bench) {
		p := b.echo(done)
		b.ledger.conflict[1] = 5
		b.upstreams("anna", "1")
		time.Sleep(time.Minute)
		synctest.Wait()
		got := p.deliveries()
		if len(got) != 6 {
			t.Fatalf("handed out %d times, want 6", len(got))
		}
		for _, m := range got {
			if m.Attempt != 1 {
				t.Errorf("attempt %d, want 1: a conflict is not the handler's failure", m.Attempt)
			}
		}
	})
}

// TestErrorOnStaleReads: what a handler's error came of is checked with it: if that
// has changed, it runs again and no attempt counts. But a handler whose time was up
// has had its attempt. // P7
func TestErrorOnStaleReads(t *testing.T) {
	reads := &wire.Changes{Read: []*wire.Read{{Key: "k", Version: 3}}, Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}
	for _, tt := range []struct {
		name     string
		result   *wire.Result
		takes    time.Duration
		runs     int
		attempts uint32 // the last one
		failed   uint64
	}{
		{"reject", &wire.Result{Code: wire.Result_REJECT}, 0, 2, 1, 0},
		{"retry", &wire.Result{Code: wire.Result_RETRY, DelayMs: -1}, 0, 2, 1, 0},
		{"retry in an hour", &wire.Result{Code: wire.Result_RETRY, DelayMs: 3600_000}, 0, 2, 1, 0},
		{"done late", &wire.Result{Code: wire.Result_DONE}, 31 * time.Second, 2, 2, 1},
		{"reject late", &wire.Result{Code: wire.Result_REJECT}, 31 * time.Second, 2, 2, 1},
		{"retry late", &wire.Result{Code: wire.Result_RETRY, DelayMs: -1}, 31 * time.Second, 2, 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			booted(t, func(b *bench) {
				p := b.echo(nil)
				b.ledger.conflict[1] = 1
				b.upstreams("anna", "1")
				synctest.Wait()
				time.Sleep(tt.takes)
				r := wire.Result{Delivery: p.last().Delivery, Code: tt.result.Code, DelayMs: tt.result.DelayMs, Error: "torn", Changes: reads}
				p.result(&r)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := p.deliveries(); len(got) != tt.runs || p.last().Attempt != tt.attempts {
					t.Fatalf("%d runs, the last is attempt %d; want %d and %d", len(got), p.last().Attempt, tt.runs, tt.attempts)
				}
				if r, err := p.plugin.Results(b.Context()); err != nil || r.Failed != tt.failed {
					t.Errorf("failed %d (%v), want %d", r.Failed, err, tt.failed)
				}
				if s := b.status().Plugins[0]; s.Died != 0 {
					t.Errorf("%d dead letters", s.Died)
				}
			})
		})
	}
}

func TestHeldForAbsentPlugin(t *testing.T) {
	ledger := newLedger()
	ledger.owners["owned"] = "away"
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		b.ledger.upstream("nobody", "anna", "1")
		b.ledger.upstream("owned", "anna", "2")
		synctest.Wait()
		if s := b.status(); len(s.Holding) != 1 || s.Holding[0].Category != "nobody" || s.Holding[0].Pending != 1 {
			t.Errorf("holding %+v", s.Holding)
		}
		rest := b.plugin("rest", "*", done)
		b.wantIDs(rest, "1") // "owned" waits for its owner
		away := b.plugin("away", "owned", done)
		b.wantIDs(away, "2")
		away.plugin.Gone("crashed")
		b.ledger.upstream("owned", "anna", "3")
		b.wantIDs(rest, "1")
		b.d.Removed("away")
		b.wantIDs(rest, "1") // an owner whose file is gone keeps what is waiting
		claimer := b.plugin("claimer", "owned", done)
		b.wantIDs(claimer, "3") // but not against one that asks for it by name
	})
}

func TestNothingGoesOutBeforeTheBootIsOver(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		b.upstreams("anna", "1")
		rest := b.plugin("rest", "*", done)
		b.wantIDs(rest)
		echo := b.echo(done)
		b.wantIDs(echo)
		b.d.Booted()
		b.wantIDs(echo, "1")
		b.wantIDs(rest)
	})
}

// The owner so far keeps its category, even if another claimant starts faster.
// That it is claimed twice is said once, with who has it, however often either starts.
func TestOwnerOutlivesRestart(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		b.plugin("slow", "app", done)
		b.plugin("fast", "app", done)
	})
	for range 2 {
		start(t, ledger, func(b *bench) {
			b.upstreams("anna", "1")
			fast := b.plugin("fast", "app", done)
			synctest.Wait()
			slow := b.plugin("slow", "app", done)
			b.d.Booted()
			b.wantIDs(slow, "1")
			b.wantIDs(fast)
			b.plugin("fast", "app", done)
			b.plugin("slow", "app", done)
			synctest.Wait()
			if log := b.log.String(); strings.Count(log, "claimed twice") != 1 || !strings.Contains(log, "category=app owner=slow plugin=fast") {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestDueTimeOutlivesRestart(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		b.echo(func(p *process, m *wire.Delivery) {
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: time.Hour.Milliseconds(), Error: "later"})
		})
		b.upstreams("anna", "1")
		synctest.Wait()
	})
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done)
		time.Sleep(59 * time.Minute)
		b.wantIDs(p)
		time.Sleep(2 * time.Minute)
		b.wantIDs(p, "1")
		if p.last().Attempt != 2 {
			t.Errorf("attempt %d, want 2", p.last().Attempt)
		}
	})
}

func TestHungPluginIsKilled(t *testing.T) { // P5, P10
	booted(t, func(b *bench) {
		p := b.echo(func(p *process, m *wire.Delivery) {
			if m.GetUpstream().Device == "fine" {
				p.done(m)
			}
		})
		b.upstreams("s1", "1")
		keepAlive := func(d time.Duration) {
			for ; d > 0; d -= time.Second {
				time.Sleep(time.Second)
				for _, m := range p.deliveries() {
					p.plugin.Frame(&wire.PluginFrame{Extend: []uint64{m.Delivery}})
				}
			}
		}
		keepAlive(40 * time.Second)
		synctest.Wait()
		if len(p.kills()) > 0 || b.status().Plugins[0].Stuck != 1 {
			t.Fatalf("one stuck handler of a credit of 8: killed %v, status %+v", p.kills(), b.status().Plugins[0])
		}
		if s := b.status().Plugins[0].StuckHandlers; len(s) != 1 || s[0].Device != "s1" || s[0].Kind != "upstream" || time.Since(s[0].Started) != 40*time.Second {
			t.Errorf("stuck handlers %+v", s)
		}
		if r, err := p.plugin.Results(b.Context()); err != nil || r.Stuck != 1 || time.Since(r.Oldest) != 40*time.Second {
			t.Errorf("results %+v, %v", r, err)
		}
		revoked := 0
		for _, f := range p.frames {
			revoked += len(f.Revoke)
		}
		if revoked != 1 {
			t.Errorf("revoked %d times, want once", revoked)
		}
		b.upstreams("s2", "2")
		keepAlive(40 * time.Second)
		if len(p.kills()) == 0 || !strings.Contains(p.kills()[0], "hung: 2 ") {
			t.Fatalf("a quarter of the credit is stuck: killed %q", p.kills())
		}
		if n := len(p.deliveries()); n != 2 {
			t.Errorf("handed out %d, want 2: nothing again before the exit is awaited", n)
		}
		p.plugin.Gone("killed")
		q := b.echo(done)
		b.wantIDs(q, "1", "2")
	})
}

func TestLostHandlerIsSeenByItsLease(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil, func(f *instance.Facts) { f.HandlerTimeout, f.MaxInFlight = time.Hour, 4 })
		b.upstreams("anna", "1")
		time.Sleep(40 * time.Second) // no extend comes
		synctest.Wait()
		if len(p.kills()) == 0 {
			t.Error("a plugin that forgot a delivery goes on")
		}
	})
}

func TestSuspectIsTriedInTheOnlyProcessThenDead(t *testing.T) { // P8, P10
	booted(t, func(b *bench) {
		restart := func() *process {
			return b.echo(nil, func(f *instance.Facts) { f.Alone = true })
		}
		b.upstreams("anna", "poison", "after")
		b.upstreams("bert", "innocent")
		for range 3 {
			p := restart()
			b.wantIDs(p, "poison", "innocent")
			p.plugin.Gone("exit status 2")
		}
		p := restart()
		b.wantIDs(p, "poison") // alone
		p.plugin.Gone("exit status 2")
		synctest.Wait()
		if ends := b.ledger.ends(); len(ends) != 1 || ends[0].Verdict != entry.Dead || !strings.Contains(ends[0].Reason, "exit status 2") {
			t.Fatalf("ends %+v, want the poison dead with its reason", ends)
		}
		p = restart()
		b.wantIDs(p, "innocent") // a suspect too, alone
		p.done(p.last())
		b.wantIDs(p, "innocent", "after")
	})
}

func TestSuspectIsTriedInASecondProcess(t *testing.T) { // P5, P8, P10
	booted(t, func(b *bench) {
		b.upstreams("anna", "poison", "after")
		b.upstreams("carl", "unlucky")
		for range 3 {
			p := b.echo(nil)
			b.wantIDs(p, "poison", "unlucky")
			p.plugin.Gone("exit status 2")
		}
		p := b.echo(done)
		b.upstreams("bert", "innocent")
		b.wantIDs(p, "innocent") // others go on
		if p.triers != 1 {
			t.Fatalf("asked for a second process %d times", p.triers)
		}
		trier := b.echo(nil, asTrier)
		b.wantIDs(trier, "poison")
		b.wantIDs(p, "innocent") // the lane waits for the trial
		trier.plugin.Gone("exit status 2")
		b.wantIDs(p, "innocent", "after")
		if ends := b.ledger.ends(); ends[1].Verdict != entry.Dead || !strings.Contains(ends[1].Reason, "exit status 2") {
			t.Errorf("ends %+v, want the poison dead with its reason", ends)
		}
		if p.triers != 2 {
			t.Errorf("asked for a second process %d times: the next suspect waits for nothing", p.triers)
		}
		b.wantIDs(b.echo(done, asTrier), "unlucky")
	})
}

func TestTrierIsRetired(t *testing.T) {
	booted(t, func(b *bench) {
		b.upstreams("anna", "unlucky")
		for range 3 {
			b.echo(nil).plugin.Gone("killed")
			synctest.Wait()
		}
		for range 3 { // the first ones died before they were handed anything
			p := b.echo(nil)
			b.wantIDs(p, "unlucky")
			p.plugin.Gone("killed")
		}
		b.echo(nil)
		trier := b.echo(done, asTrier)
		b.wantIDs(trier, "unlucky")
		if !trier.retired || b.ledger.pending() != 0 {
			t.Errorf("retired %v, pending %d", trier.retired, b.ledger.pending())
		}
	})
}

func TestPauseOutlivesRestart(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		if err := b.d.Pause(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
	})
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done)
		b.upstreams("anna", "1")
		b.wantIDs(p)
		if !b.status().Plugins[0].Paused {
			t.Error("status does not tell")
		}
		if err := b.d.Resume(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		b.wantIDs(p, "1")
	})
}

func TestDeathWhileDrainingMakesNoSuspect(t *testing.T) {
	booted(t, func(b *bench) {
		b.upstreams("anna", "slow")
		for range 5 {
			p := b.echo(nil)
			b.wantIDs(p, "slow")
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			if err := p.plugin.Drain(ctx); err == nil {
				t.Error("drained")
			}
			cancel()
			p.plugin.Gone("its file has changed")
		}
		if s := b.status().Plugins[0]; s.Suspects != 0 || s.Pending != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCreditIsKept(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		for range 20 {
			b.ledger.outcome("echo", "")
		}
		synctest.Wait()
		if n := len(p.deliveries()); n != 4 {
			t.Errorf("%d outcomes out, want half of the credit of 8", n)
		}
		for i := range 20 {
			b.ledger.upstream("app", fmt.Sprint(i), fmt.Sprint(i))
		}
		synctest.Wait()
		if n := len(p.deliveries()); n != 8 {
			t.Errorf("%d out, want the credit of 8", n)
		}
		p.plugin.Frame(&wire.PluginFrame{Credit: 2})
		for _, m := range p.deliveries() {
			p.done(m)
		}
		synctest.Wait()
		if n := len(p.deliveries()); n != 10 {
			t.Errorf("%d handed out in all, want 8 and then 2", n)
		}
	})
}

func TestOutcomesOfAGroupInOrder(t *testing.T) { // P5
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.ledger.outcome("echo", "g")
		b.ledger.outcome("echo", "g")
		b.ledger.outcome("echo", "h")
		synctest.Wait()
		if n := len(p.deliveries()); n != 2 {
			t.Fatalf("%d out, want one of each group", n)
		}
		p.done(p.deliveries()[0])
		synctest.Wait()
		if n := len(p.deliveries()); n != 3 {
			t.Errorf("%d out, want 3", n)
		}
	})
}

func TestEventWithoutHandlerIsDone(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(done, func(f *instance.Facts) { f.Outcome = false })
		b.ledger.outcome("echo", "")
		synctest.Wait()
		if len(p.deliveries()) != 0 || b.ledger.pending() != 0 {
			t.Errorf("handed out %d, pending %d", len(p.deliveries()), b.ledger.pending())
		}
	})
}

func TestDrain(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("anna", "1", "2")
		b.wantIDs(p, "1")
		drained := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			drained <- p.plugin.Drain(ctx)
		}()
		synctest.Wait()
		if f := p.frames[len(p.frames)-1]; f.Drain == nil || f.Drain.TimeoutMs == 0 {
			t.Errorf("last frame %v, want a drain with its limit", f)
		}
		p.done(p.last())
		b.wantIDs(p, "1") // nothing more
		select {
		case err := <-drained:
			t.Fatalf("drained before the plugin said so: %v", err)
		default:
		}
		p.plugin.Frame(&wire.PluginFrame{Drained: true})
		b.wantEnded(drained)
		p.plugin.Gone("stopped")
		b.wantIDs(b.echo(done), "2")
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("anna", "1")
		b.wantIDs(p, "1")
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		if err := p.plugin.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v", err)
		}
	})
}

func TestChangedOrderMakesNewLanes(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		for i := range 3 {
			b.ledger.upstream("app", "anna", fmt.Sprint(i))
		}
		b.wantIDs(p, "0")
		p.plugin.Gone("replaced")
		p = b.echo(nil, unordered)
		b.wantIDs(p, "0", "1", "2")
	})
}

func TestCalls(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		p := b.echo(nil)
		ok := &wire.Downstream{MessageId: "m1", To: &wire.Target{To: &wire.Target_Token{Token: "anna"}}, Data: []byte(`{"a":"b"}`)}
		for i, tt := range []struct {
			call *wire.Call
			want wire.Reply_Code
		}{
			{&wire.Call{Op: &wire.Call_Get{Get: "known"}}, wire.Reply_OK},
			{&wire.Call{Op: &wire.Call_Get{Get: ""}}, wire.Reply_INVALID},
			{&wire.Call{Op: &wire.Call_Send{Send: ok}}, wire.Reply_OK},
			{&wire.Call{Op: &wire.Call_Send{Send: &wire.Downstream{MessageId: "m2"}}}, wire.Reply_INVALID},
			{&wire.Call{Op: &wire.Call_Send{Send: &wire.Downstream{To: ok.To, Data: ok.Data}}}, wire.Reply_INVALID},
			{&wire.Call{Op: &wire.Call_Send{Send: &wire.Downstream{MessageId: "m3", Session: "other", To: ok.To}}}, wire.Reply_INVALID},
			{&wire.Call{Op: &wire.Call_Update{Update: &wire.Changes{Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}}}, wire.Reply_OK},
			{&wire.Call{Op: &wire.Call_Update{Update: &wire.Changes{Write: make([]*wire.Write, 1001)}}}, wire.Reply_INVALID},
			{&wire.Call{Op: &wire.Call_Update{Update: &wire.Changes{Read: make([]*wire.Read, 1001)}}}, wire.Reply_INVALID},
			{&wire.Call{}, wire.Reply_INVALID},
		} {
			tt.call.Id = uint64(i + 1)
			p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{tt.call}})
			synctest.Wait()
			var reply *wire.Reply
			for _, f := range p.frames {
				for _, r := range f.Reply {
					if r.Id == tt.call.Id {
						reply = r
					}
				}
			}
			if reply == nil || reply.Code != tt.want || tt.want != wire.Reply_OK && reply.Error == "" {
				t.Errorf("call %v: reply %v, want %v", tt.call, reply, tt.want)
			}
		}
		if sends := b.ledger.updates[0].Sends; len(sends) != 1 || sends[0].Message.Session != "1" || !sends[0].Tell {
			t.Errorf("stored %+v", sends)
		}
	})
}

// TestMovedEventsKeepOrder: older events come to a lane that has newer ones. // P5
func TestMovedEventsKeepOrder(t *testing.T) {
	booted(t, func(b *bench) {
		const each = 500
		for i := range each {
			b.ledger.upstream("old", "anna", fmt.Sprint(i))
		}
		for i := range each {
			b.ledger.upstream("app", "anna", fmt.Sprint(each+i))
		}
		first := b.echo(nil)
		b.wantIDs(first, fmt.Sprint(each))
		second := b.echo(done, func(f *instance.Facts) { f.Claim.Categories = []string{"app", "old"} })
		first.done(first.last())
		var want []string
		for i := range 2 * each {
			if i != each {
				want = append(want, fmt.Sprint(i))
			}
		}
		b.wantIDs(second, want...)
	})
}

// TestEndlessReleaseIsSlow: an event that is never handled nor failed costs little. // P10
func TestEndlessReleaseIsSlow(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(func(p *process, m *wire.Delivery) {
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RELEASE})
		})
		b.upstreams("anna", "1")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(p.deliveries()); n < 10 || n > 60 {
			t.Errorf("handed out %d times in a minute, want some tens", n)
		}
	})
}

func TestFloodOfCallsEndsThePlugin(t *testing.T) { // P10
	start(t, newLedger(), func(b *bench) {
		p := b.echo(nil)
		p.plugin.Frame(&wire.PluginFrame{Call: make([]*wire.Call, 257)})
		if len(p.kills()) != 1 || !strings.Contains(p.kills()[0], "257 calls") {
			t.Errorf("killed %q", p.kills())
		}
	})
}

func TestUpdatesWaitingAreBounded(t *testing.T) { // P10
	start(t, newLedger(), func(b *bench) {
		p := b.echo(nil)
		b.ledger.stuck = make(chan struct{})
		blocked := make(chan int, 1)
		go func() {
			for i := range 10 {
				p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{{Id: uint64(i + 1), Op: &wire.Call_Update{Update: &wire.Changes{
					Write: []*wire.Write{{Key: "k", Value: bytes.Repeat([]byte("1"), message.MaxValue)}},
				}}}}})
			}
			blocked <- 10
		}()
		synctest.Wait()
		if n := len(b.ledger.updates); n != 4 {
			t.Errorf("%d updates of nearly 1 MiB wait for a commit that hangs, want 4 within the 4 MiB", n)
		}
		close(b.ledger.stuck)
		<-blocked
	})
}

// A plugin knows sessions by the names that they have now, whatever they had
// when the event was stored.
func TestSessionsAreNamed(t *testing.T) {
	sessions := entry.Senders{{Name: "main", ID: "1"}, {Name: "other", ID: "2"}}
	d := &Dispatcher{o: Options{Senders: func() entry.Senders { return sessions }}}
	check := func(want string) {
		t.Helper()
		for _, b := range []entry.Body{
			{Upstream: &message.Upstream{Session: "1"}}, {Outcome: &message.Outcome{Session: "1"}}, {Receipt: &message.Receipt{Session: "1"}},
		} {
			m := d.encode(&Instance{}, b, &delivery{number: 1}, 1)
			if got := m.GetUpstream().GetSession() + m.GetOutcome().GetSession() + m.GetReceipt().GetSession(); got != want {
				t.Errorf("%v comes from session %q, want %q", m, got, want)
			}
		}
	}
	check("main")
	sessions = entry.Senders{{Name: "renamed", ID: "1"}}
	check("renamed")
	sessions = nil
	check("1")
}

// TestManyCategories: devices choose the categories, so neither the log nor the
// status grows with them; what waits is told all the same (P10).
func TestManyCategories(t *testing.T) {
	booted(t, func(b *bench) {
		const most = 1000
		for i := range most {
			b.ledger.upstream(fmt.Sprintf("nobody-%03d", i), "anna", "1")
			b.ledger.upstream("busy", "anna", "1")
		}
		synctest.Wait()
		s := b.status()
		if len(s.Holding) != maxHolding || s.Holding[0].Category != "busy" || s.Holding[0].Pending != most {
			t.Errorf("%d categories named, first %+v", len(s.Holding), s.Holding[0])
		}
		if want := (status.Rest{Categories: most + 1 - maxHolding, Pending: most + 1 - maxHolding}); s.More != want {
			t.Errorf("rest %+v, not %+v", s.More, want)
		}
		if n := strings.Count(b.log.String(), "no plugin claims a category"); n == 0 || n > 20 {
			t.Errorf("%d lines in the log", n)
		}
	})
}
