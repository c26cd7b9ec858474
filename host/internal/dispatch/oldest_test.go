package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk/wire"
)

// work is the status of the only plugin.
func (b *bench) work() PluginStatus {
	b.Helper()
	synctest.Wait()
	all := b.status().Plugins
	if len(all) != 1 {
		b.Fatalf("%d plugins", len(all))
	}
	return all[0]
}

// The oldest pending event is the one that was stored first, wherever it is: in its
// handler, waiting for its next attempt, in a lane behind another one, or only in the ledger.
func TestOldest(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		first := time.Now()
		b.upstreams("anna", "a1")
		time.Sleep(time.Minute)
		b.upstreams("bert", "b1", "b2")
		want := func(what string, at time.Time) {
			b.Helper()
			if got := b.work().Oldest; !got.Equal(at) {
				t.Errorf("%s: the oldest is of %v, want %v", what, got, at)
			}
		}
		p := b.echo(nil)
		want("before the end of boot", first)
		b.d.Booted()
		want("in its handler", first)
		p.result(&wire.Result{Delivery: p.deliveries()[0].Delivery, Code: wire.Result_RETRY, DelayMs: time.Hour.Milliseconds()})
		time.Sleep(time.Minute)
		want("waiting for its next attempt", first)
		time.Sleep(time.Hour)
		synctest.Wait()
		p.done(p.last())
		want("behind it", first.Add(time.Minute))
		p.done(p.deliveries()[1])
		synctest.Wait()
		p.done(p.last())
		want("none is pending", time.Time{})

		p.plugin.Gone("it crashed")
		last := time.Now()
		b.upstreams("anna", "a2")
		want("no process", last)
		if err := b.d.Pause(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		b.echo(nil)
		want("paused", last)
	})
}

// An event that no lane has room for is the oldest once those before it have ended, and
// events of others that were stored before don't count.
func TestOldestOfABacklog(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		b.ledger.SetOwner("app", "echo", func(error) {})
		b.ledger.SetOwner("other", "another", func(error) {})
		b.ledger.upstream("other", "anna", "o")
		time.Sleep(time.Minute)
		mine := time.Now()
		b.upstreams("anna", "1")
		time.Sleep(time.Minute)
		b.upstreams("anna", "2")
		b.d.Booted()
		synctest.Wait()
		for _, p := range b.status().Plugins {
			if p.Name == "echo" && (p.Pending != 2 || !p.Oldest.Equal(mine)) {
				t.Errorf("%d pending, the oldest of %v, want 2 and %v", p.Pending, p.Oldest, mine)
			}
		}
	})
}

// The quantiles of a plugin's handling are those of the last minutes: what was slow an
// hour ago is not slow now.
func TestHandlingQuantiles(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		take := func(took time.Duration) {
			b.Helper()
			b.upstreams("anna", "x")
			synctest.Wait()
			time.Sleep(took)
			p.done(p.last())
		}
		want := func(p50, p99 float64) {
			b.Helper()
			w := b.work()
			if near := func(got, want float64) bool { return got >= want && got <= want*1.04 }; !near(w.HandlingP50, p50) || !near(w.HandlingP99, p99) {
				t.Errorf("p50 %v ms and p99 %v ms, want %v and %v", w.HandlingP50, w.HandlingP99, p50, p99)
			}
		}
		want(0, 0)
		for range 9 {
			take(20 * time.Millisecond)
		}
		take(2 * time.Second)
		want(20, 2000)
		time.Sleep(10 * time.Minute)
		want(0, 0)
		take(5 * time.Millisecond)
		want(5, 5)
	})
}
