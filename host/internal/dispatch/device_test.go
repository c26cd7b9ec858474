package dispatch

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/host/internal/route"
)

func deviceOf(token string) Device { return Device{Hash: hash(token), Session: "1", Brief: token} }

// P5: what is of a paused device waits, over a restart, a reload of the plugin and another
// order of it; all else goes on. Afterwards it comes in its order.
func TestPausedDeviceWaits(t *testing.T) {
	ledger := newLedger()
	keyed, err := route.ParseOrder("key:data.v")
	if err != nil {
		t.Fatal(err)
	}
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done)
		b.upstreams("anna", "1")
		b.wantIDs(p, "1")
		if err := b.d.PauseDevice(b.Context(), "echo", deviceOf("anna")); err != nil {
			t.Fatal(err)
		}
		b.upstreams("anna", "2", "3")
		b.upstreams("ben", "4")
		b.wantIDs(p, "1", "4")
	})
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done)
		b.upstreams("ben", "5")
		b.wantIDs(p, "5")
		if s := b.status().Plugins[0]; len(s.PausedDevices) != 1 || s.PausedDevices[0].Device != "anna" || s.PausedDevices[0].Since.IsZero() || s.Pending != 2 {
			t.Errorf("%+v", s.Work)
		}
		for i, order := range []route.Order{{}, keyed} {
			q := b.echo(done, func(f *instance.Facts) { f.Order = order })
			id := fmt.Sprint(6 + i)
			b.upstreams("ben", id)
			b.upstreams("anna", "a"+id)
			b.wantIDs(q, id)
		}
		r := b.echo(done) // by device again
		b.wantIDs(r)
		if err := b.d.ResumeDevice(b.Context(), "echo", hash("anna")); err != nil {
			t.Fatal(err)
		}
		b.wantIDs(r, "2", "3", "a6", "a7")
	})
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done)
		b.upstreams("anna", "8")
		b.wantIDs(p, "8")
	})
}

// A device's event that is in flight ends as usual; its timer waits with the upstreams.
func TestPauseOfADeviceAtWork(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("anna", "1")
		b.wantIDs(p, "1")
		if err := b.d.PauseDevice(b.Context(), "echo", deviceOf("anna")); err != nil {
			t.Fatal(err)
		}
		b.ledger.timer("echo", "wake", entry.Lane{Kind: entry.Upstream, Hash: hash("anna")})
		p.done(p.last())
		synctest.Wait()
		if ends := b.ledger.ends(); len(ends) != 1 || ends[0].Verdict != entry.Done {
			t.Fatalf("%+v", ends)
		}
		if n := len(p.deliveries()); n != 1 {
			t.Fatalf("%d deliveries while it is paused", n)
		}
		if err := b.d.ResumeDevice(b.Context(), "echo", hash("anna")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(p.deliveries()); n != 2 {
			t.Errorf("%d deliveries", n)
		}
	})
}

// P10: a paused device that sends very much takes no memory for it, and nobody's room.
func TestPausedDeviceTakesNoRoom(t *testing.T) {
	for _, order := range []string{"device", "none"} {
		parsed, err := route.ParseOrder(order)
		if err != nil {
			t.Fatal(err)
		}
		booted(t, func(b *bench) {
			b.d.caps = caps{loaded: 64, least: 16, lane: 8, batch: 10, reads: 2}
			if err := b.d.PauseDevice(b.Context(), "echo", deviceOf("anna")); err != nil {
				t.Fatal(err)
			}
			p := b.echo(done, func(f *instance.Facts) { f.Order = parsed })
			for i := range 300 {
				b.upstreams("anna", fmt.Sprint("a", i))
			}
			b.upstreams("ben", "1")
			time.Sleep(time.Second)
			b.wantIDs(p, "1")
			if err := b.d.ResumeDevice(b.Context(), "echo", hash("anna")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(p.deliveries()); n != 301 {
				t.Errorf("order %s: %d deliveries, want all", order, n)
			}
		})
	}
}

func TestPausedDevicesAreFew(t *testing.T) {
	booted(t, func(b *bench) {
		for i := range maxPaused {
			if err := b.d.PauseDevice(b.Context(), "echo", deviceOf(fmt.Sprint("d", i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.d.PauseDevice(b.Context(), "echo", deviceOf("one more")); !errors.Is(err, entry.ErrMany) {
			t.Error(err)
		}
	})
}

// P5: what has a paused ordering key waits, whatever its device is, over a restart and with
// its timers; all else goes on. Afterwards it comes in its order.
func TestPausedLaneWaits(t *testing.T) {
	ledger := newLedger()
	keyed, err := route.ParseOrder("key:data.v")
	if err != nil {
		t.Fatal(err)
	}
	ordered := func(f *instance.Facts) { f.Order = keyed }
	lobby := NamedLane{Hashes: route.Named("lobby"), Brief: "lobby"}
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done, ordered)
		b.wantIDs(p)
		if err := b.d.PauseLane(b.Context(), "echo", lobby); err != nil {
			t.Fatal(err)
		}
		b.upstreams("anna", "lobby", "attic")
		b.upstreams("ben", "lobby")
		b.ledger.timer("echo", "wake", entry.Lane{Kind: entry.Upstream, Hash: hash("anna"), Key: lobby.Hashes[0]})
		b.wantIDs(p, "attic")
		first, second := b.ledger.Events(0, 9)[0], b.ledger.Events(0, 9)[1]
		for _, e := range []entry.Event{first, second} {
			if s, err := b.d.Standing(b.Context(), e); err != nil || s.For != Paused || s.Lane != "lobby" || s.Since.IsZero() {
				t.Errorf("%+v, %v", s, err)
			}
		}
	})
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		p := b.echo(done, ordered)
		b.upstreams("ben", "roof")
		b.wantIDs(p, "roof")
		if s := b.status().Plugins[0]; len(s.PausedLanes) != 1 || s.PausedLanes[0].Lane != "lobby" || s.PausedLanes[0].Since.IsZero() || s.Pending != 3 {
			t.Errorf("%+v", s.Work)
		}
		if err := b.d.ResumeLane(b.Context(), "echo", lobby.Hashes); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.ledger.ends(); len(got) != 5 || b.ledger.pending() != 0 || got[2].Seq > got[3].Seq || got[3].Seq > got[4].Seq {
			t.Errorf("%+v", got)
		}
		if s := b.status().Plugins[0]; len(s.PausedLanes) != 0 {
			t.Errorf("%+v", s.Work)
		}
	})
}

// A number is a key, too; a plugin without ordering keys has no such lanes; and there is an
// end to how many are paused.
func TestPauseOfLanesHasLimits(t *testing.T) {
	booted(t, func(b *bench) {
		b.echo(done)
		synctest.Wait()
		err := b.d.PauseLane(b.Context(), "echo", NamedLane{Hashes: route.Named("17"), Brief: "17"})
		if !errors.Is(err, entry.ErrUnknown) {
			t.Errorf("by device: %v", err)
		}
		for i := range maxPaused {
			if err := b.d.PauseLane(b.Context(), "later", NamedLane{Hashes: route.Named(fmt.Sprint("room-", i)), Brief: "room"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.d.PauseLane(b.Context(), "later", NamedLane{Hashes: route.Named("17")}); !errors.Is(err, entry.ErrMany) {
			t.Errorf("one more: %v", err)
		}
	})
}
