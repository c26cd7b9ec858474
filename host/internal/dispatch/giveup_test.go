package dispatch

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/wire"
)

// stuckAt makes a plugin whose handler of "1" never returns until the test says so, and
// waits until it is stuck. "2" waits behind it.
func stuckAt(b *bench, change ...func(*instance.Facts)) (p *process, held *wire.Delivery) {
	b.Helper()
	p = b.echo(func(p *process, m *wire.Delivery) {
		if m.GetUpstream().Id != "e-1" || m.GetAttempt() == 1 && held != nil {
			p.done(m)
			return
		}
		held = m
	}, change...)
	b.upstreams("anna", "1", "2")
	for range 40 {
		time.Sleep(time.Second)
		synctest.Wait()
		p.plugin.Frame(&wire.PluginFrame{Extend: []uint64{held.GetDelivery()}})
	}
	synctest.Wait()
	return p, held
}

// P5: the lane goes on when a person gives its handler up, and the handler's late result
// changes nothing.
func TestGivenUpHandlerHoldsNobody(t *testing.T) {
	booted(t, func(b *bench) {
		p, held := stuckAt(b)
		stuck, err := b.d.Stuck(b.Context())
		if err != nil || len(stuck) != 1 || stuck[0].Plugin != "echo" || stuck[0].Event != "e-1" || stuck[0].Category != "app" || stuck[0].Device != "anna" || stuck[0].Behind != 1 || !stuck[0].GivenUp.IsZero() {
			t.Fatalf("%+v, %v", stuck, err)
		}
		b.wantIDs(p, "1")
		if err := b.d.GiveUp(b.Context(), "e-1", entry.Dead); err != nil {
			t.Fatal(err)
		}
		b.wantIDs(p, "1", "2")
		ends := b.ledger.ends()
		if len(ends) != 2 || ends[0].Verdict != entry.Dead || ends[0].Reason != "a person gave its handler up, which had run for 40s" || ends[1].Verdict != entry.Done {
			t.Fatalf("%+v", ends)
		}
		if stuck, err = b.d.Stuck(b.Context()); err != nil || len(stuck) != 1 || stuck[0].GivenUp.IsZero() || stuck[0].Behind != 0 {
			t.Errorf("while it runs: %+v, %v", stuck, err)
		}
		if err := b.d.GiveUp(b.Context(), "e-1", entry.Dead); !errors.Is(err, entry.ErrUnknown) {
			t.Errorf("a second time: %v", err)
		}
		if n := b.status().Plugins[0].InFlight; n != 1 {
			t.Errorf("%d places of the credit are taken, want that of the handler that runs", n)
		}
		p.result(&wire.Result{Delivery: held.Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}})
		synctest.Wait()
		if ends := b.ledger.ends(); len(ends) != 2 {
			t.Errorf("the late result counts: %+v", ends)
		}
		if s := b.status().Plugins[0]; s.InFlight != 0 || s.Died != 1 || s.Handled != 1 {
			t.Errorf("after its return: %+v", s)
		}
		if stuck, err = b.d.Stuck(b.Context()); err != nil || len(stuck) != 0 {
			t.Errorf("after its return: %+v, %v", stuck, err)
		}
		b.upstreams("anna", "3")
		b.wantIDs(p, "1", "2", "3")
	})
}

// P5: with Again the event comes behind all that waits in its lane.
func TestGivenUpEventComesAgainAtTheEnd(t *testing.T) {
	booted(t, func(b *bench) {
		p, _ := stuckAt(b)
		if err := b.d.GiveUp(b.Context(), "e-1", entry.Again); err != nil {
			t.Fatal(err)
		}
		b.wantIDs(p, "1", "2", "1")
		if s := b.status().Plugins[0]; s.Died != 0 || s.Handled != 2 || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// One that is at work, or that nobody has, is not given up.
func TestOnlyStuckHandlersAreGivenUp(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(func(*process, *wire.Delivery) {})
		b.upstreams("anna", "1", "2")
		b.wantIDs(p, "1")
		err := b.d.GiveUp(b.Context(), "e-1", entry.Dead)
		if !errors.Is(err, entry.ErrNotStuck) || !strings.Contains(err.Error(), "event e-1 was given to plugin echo 0s ago and its handler may take 30s") {
			t.Errorf("in its time: %v", err)
		}
		for _, id := range []string{"e-2", "e-9", ""} {
			if err := b.d.GiveUp(b.Context(), id, entry.Dead); !errors.Is(err, entry.ErrUnknown) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if ends := b.ledger.ends(); len(ends) != 0 {
			t.Errorf("%+v", ends)
		}
	})
}

// P10: handlers that were given up and run on count as hung with the others, and the
// process's end takes none of their events back.
func TestGivenUpHandlersCountAsHung(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(func(p *process, m *wire.Delivery) {
			if m.GetUpstream().Device != "anna" {
				return
			}
			if m.GetUpstream().Id != "e-1" {
				p.done(m)
			}
		})
		b.upstreams("anna", "1", "2")
		alive := func(seconds int) {
			for range seconds {
				time.Sleep(time.Second)
				for _, m := range p.deliveries() {
					p.plugin.Frame(&wire.PluginFrame{Extend: []uint64{m.Delivery}})
				}
			}
			synctest.Wait()
		}
		alive(40)
		if err := b.d.GiveUp(b.Context(), "e-1", entry.Dead); err != nil {
			t.Fatal(err)
		}
		b.wantIDs(p, "1", "2")
		b.upstreams("ben", "3")
		alive(40)
		if len(p.kills()) == 0 || !strings.Contains(p.kills()[0], "hung: 2 ") {
			t.Fatalf("killed %q", p.kills())
		}
		p.plugin.Gone("killed")
		q := b.echo(done)
		b.wantIDs(q, "3")
	})
}

// P5 P7: whatever a handler returns that was given up, it comes too late. Nothing of it
// reaches the ledger, its event is not handed out again, and it counts as no handling.
func TestGivenUpHandlerReturnsTooLate(t *testing.T) {
	for _, code := range []wire.Result_Code{wire.Result_DONE, wire.Result_RETRY, wire.Result_REJECT, wire.Result_RELEASE, wire.Result_UNSPECIFIED} {
		t.Run(code.String(), func(t *testing.T) {
			booted(t, func(b *bench) {
				p, held := stuckAt(b)
				if err := b.d.GiveUp(b.Context(), "e-1", entry.Dead); err != nil {
					t.Fatal(err)
				}
				b.wantIDs(p, "1", "2")
				asked, before := b.ledger.settles(), b.status().Plugins[0]
				p.result(&wire.Result{Delivery: held.Delivery, Code: code, Changes: &wire.Changes{Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}})
				time.Sleep(time.Hour) // for an attempt that waits
				b.wantIDs(p, "1", "2")
				if n := b.ledger.settles() - asked; n != 0 {
					t.Errorf("the ledger was asked to settle %d times", n)
				}
				if s := b.status().Plugins[0]; s.InFlight != 0 || s.Handled != before.Handled || s.Died != before.Died || s.Retried != before.Retried {
					t.Errorf("before %+v, after %+v", before, s)
				}
			})
		})
	}
}
