package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/wire"
)

// TestHandover has a new process take lanes as the old one settles them. // P9, P5
func TestHandover(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.wantIDs(old, "a1")
		green := b.echo(nil)
		gone := b.retire(old, time.Minute)
		b.upstreams("bert", "b1")
		b.wantIDs(green, "b1") // a free lane goes to the new one at once
		old.done(old.last())
		b.wantIDs(green, "b1", "a2") // and anna's when the old one has settled
		b.wantIDs(old, "a1")
		old.drained()
		b.wantEnded(gone)
		green.done(green.last())
		synctest.Wait()
		if r, err := green.plugin.Results(b.Context()); err != nil || r.Handled != 1 || r.Failed != 0 || r.Holds != 1 || r.Oldest.IsZero() || r.Stuck != 0 {
			t.Errorf("results %+v, %v", r, err)
		}
	})
}

// TestOldFailures: an event that failed in the old process first is no failure of
// the new one's own; one that fails there first is, each time. // P9
func TestOldFailures(t *testing.T) {
	booted(t, func(b *bench) {
		fails := func(p *process, m *wire.Delivery) {
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, Error: "database is down", DelayMs: 1000})
		}
		old := b.echo(fails)
		b.upstreams("anna", "a1")
		synctest.Wait()
		if r, err := old.plugin.Results(b.Context()); err != nil || r.Failed == 0 || r.Old != 0 {
			t.Errorf("old one: %+v, %v", r, err)
		}
		green := b.echo(fails)
		gone := b.retire(old, time.Minute)
		old.drained()
		b.wantEnded(gone)
		b.upstreams("bert", "b1")
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		anna, bert := uint64(0), uint64(0)
		for _, id := range green.ids() {
			if id == "a1" {
				anna++
			} else {
				bert++
			}
		}
		if r, err := green.plugin.Results(b.Context()); err != nil || anna == 0 || bert < 2 || r.Old != anna || r.Failed != anna+bert {
			t.Errorf("new one: %+v, %v; it failed %d times over anna's, %d over bert's", r, err, anna, bert)
		}
	})
}

// TestHangOfTheOldOne: a handler that hangs over an event which the old process was ended
// over is told apart from the new one's own, also before the old one's counted. // P9
func TestHangOfTheOldOne(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "a1")
		b.wantIDs(old, "a1")
		time.Sleep(time.Second)
		green := b.echo(nil, func(f *instance.Facts) { f.MaxInFlight = 100 })
		if err := <-b.retire(old, 10*time.Second); err == nil {
			t.Fatal("the old one let go of it")
		}
		b.wantIDs(green, "a1")
		b.upstreams("bert", "b1")
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if r, err := green.plugin.Results(b.Context()); err != nil || r.Stuck != 2 || r.Ended != 1 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestHandoverToAnotherOrder: lanes change only when everything is settled. // P9, P5
func TestHandoverToAnotherOrder(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		for i := range 3 {
			b.ledger.upstream("app", "anna", fmt.Sprint(i))
		}
		b.wantIDs(old, "0")
		green := b.echo(nil, unordered)
		b.wantIDs(green)
		old.done(old.last())
		b.wantIDs(green, "1", "2")
		b.wantIDs(old, "0")
	})
}

// TestHandoverWaitsForCommits: what is answered is not settled before it is on
// disk. Until then its lane is the old process's, and that is not drained. // P5, P9
func TestHandoverWaitsForCommits(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "1", "2")
		b.wantIDs(old, "1")
		green := b.echo(done, unordered)
		gone := b.retire(old, time.Minute)
		b.ledger.stuck = make(chan struct{})
		old.done(old.last())
		old.drained()
		b.wantIDs(green)
		select {
		case err := <-gone:
			t.Fatalf("drained before its result is on disk: %v", err)
		default:
		}
		close(b.ledger.stuck)
		b.wantEnded(gone)
		b.wantIDs(green, "2")
	})
}

// TestHandoverTwice: a second version comes while the first one's turn has not
// come, or while it holds events of its own. // P9, P5
func TestHandoverTwice(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.wantIDs(old, "a1")
		first := b.echo(nil, unordered)
		oldGone := b.retire(old, time.Minute)
		b.wantIDs(first) // its lanes are others: it waits for the old one
		second := b.echo(nil)
		firstGone := b.retire(first, time.Minute)
		b.upstreams("bert", "b1")
		b.wantIDs(second, "b1") // whose lanes are the old ones: they need not wait
		first.drained()
		b.wantEnded(firstGone)
		third := b.echo(done)
		secondGone := b.retire(second, time.Minute)
		b.upstreams("bert", "b2")
		b.wantIDs(third) // both lanes are in older hands, of two processes
		old.done(old.last())
		b.wantIDs(third, "a2")
		second.done(second.last())
		b.wantIDs(third, "a2", "b2")
		old.drained()
		second.drained()
		b.wantEnded(oldGone, secondGone)
		b.wantIDs(first)
	})
}

func TestHandoverWhilePaused(t *testing.T) { // P9
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.wantIDs(old, "a1")
		if err := b.d.Pause(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		green := b.echo(done)
		gone := b.retire(old, time.Minute)
		old.done(old.last()) // what was handed out goes on
		old.drained()
		b.wantEnded(gone)
		b.upstreams("bert", "b1")
		b.wantIDs(green)
		if err := b.d.Resume(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		b.wantIDs(green, "a2", "b1")
	})
}

// TestHandoverDuringRetryWait: what waits for its next attempt has it in the new
// process, at its time, before what is behind it. // P5, P9
func TestHandoverDuringRetryWait(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.wantIDs(old, "a1")
		old.result(&wire.Result{Delivery: old.last().Delivery, Code: wire.Result_RETRY, DelayMs: 60_000, Error: "later"})
		synctest.Wait()
		green := b.echo(done)
		gone := b.retire(old, time.Minute)
		old.drained()
		b.wantEnded(gone)
		time.Sleep(59 * time.Second) // bubble time
		b.wantIDs(green)
		time.Sleep(2 * time.Second)
		b.wantIDs(green, "a1", "a2")
		if first := green.deliveries()[0]; first.Attempt != 2 {
			t.Errorf("attempt %d, want 2", first.Attempt)
		}
	})
}

// TestHandoverDuringConflict: a handler of the old process that has to run
// again does so in the new one, no attempt counted. // P7, P9
func TestHandoverDuringConflict(t *testing.T) {
	booted(t, func(b *bench) {
		b.ledger.conflict[1] = 1
		old := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.wantIDs(old, "a1")
		green := b.echo(done)
		gone := b.retire(old, time.Minute)
		old.result(&wire.Result{Delivery: old.last().Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}})
		old.drained()
		b.wantEnded(gone)
		b.wantIDs(green, "a1", "a2")
		if first := green.deliveries()[0]; first.Attempt != 1 {
			t.Errorf("attempt %d, want 1", first.Attempt)
		}
	})
}

// TestHandoverWhileASuspectIsTried: the process for suspects goes with the
// version that it is one of; what it takes along is tried in one of the new
// version, and is not dead by it. // P5, P8, P9
func TestHandoverWhileASuspectIsTried(t *testing.T) {
	booted(t, func(b *bench) {
		b.upstreams("anna", "poison", "after")
		for range 3 {
			p := b.echo(nil)
			b.wantIDs(p, "poison")
			p.plugin.Gone("exit status 2")
		}
		old := b.echo(done)
		oldTrier := b.echo(nil, asTrier)
		b.wantIDs(oldTrier, "poison")
		green := b.echo(done)
		trierGone, oldGone := b.retire(oldTrier, time.Second), b.retire(old, time.Minute)
		b.wantIDs(green) // the lane is in the trier's hands
		old.drained()
		b.wantEnded(oldGone)
		if err := <-trierGone; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Drain of a process that holds an event: %v", err)
		}
		b.wantIDs(green) // still a suspect
		if ends := b.ledger.ends(); len(ends) != 0 {
			t.Fatalf("ends: %+v", ends)
		}
		time.Sleep(askAgain)
		synctest.Wait()
		if green.triers == 0 {
			t.Fatal("the new version was not asked for a process to try it in")
		}
		trier := b.echo(done, asTrier)
		b.wantIDs(trier, "poison") // which the new version can handle
		b.wantIDs(green, "after")
		if ends := b.ledger.ends(); len(ends) != 2 || ends[0].Verdict != entry.Done {
			t.Errorf("ends: %+v", ends)
		}
	})
}

// TestCategoryMovesWithAHandover: two plugins are replaced at once, and a
// category goes from one to the other, whichever version is ready first. // P5, P8, P9
func TestCategoryMovesWithAHandover(t *testing.T) {
	for _, giverFirst := range []bool{true, false} {
		booted(t, func(b *bench) {
			claims := func(categories ...string) func(*instance.Facts) {
				return func(f *instance.Facts) { f.Claim.Categories = categories }
			}
			giver := b.plugin("giver", "", nil, claims("stays", "moves"))
			taker := b.plugin("taker", "", nil, claims("other"))
			for _, id := range []string{"m1", "m2", "m3"} {
				b.ledger.upstream("moves", "anna", id)
			}
			b.ledger.upstream("stays", "bert", "s1")
			b.ledger.upstream("other", "cora", "o1")
			b.wantIDs(giver, "m1", "s1")
			b.wantIDs(taker, "o1")
			var giver2, taker2 *process
			if giverFirst {
				giver2 = b.plugin("giver", "", done, claims("stays"))
				b.ledger.upstream("moves", "anna", "m4") // nobody's for now
				synctest.Wait()
				taker2 = b.plugin("taker", "", done, claims("other", "moves"))
			} else {
				taker2 = b.plugin("taker", "", done, claims("other", "moves"))
				b.ledger.upstream("moves", "anna", "m4")
				b.wantIDs(taker2) // the owner so far keeps it
				giver2 = b.plugin("giver", "", done, claims("stays"))
			}
			giverGone, takerGone := b.retire(giver, time.Minute), b.retire(taker, time.Minute)
			b.wantIDs(taker2, "m2", "m3", "m4")
			giver.result(&wire.Result{Delivery: giver.deliveries()[0].Delivery, Code: wire.Result_RELEASE}) // m1 is the taker's, too
			b.wantIDs(taker2, "m2", "m3", "m4", "m1")
			giver.done(giver.deliveries()[1])
			taker.done(taker.last())
			giver.drained()
			taker.drained()
			b.wantEnded(giverGone, takerGone)
			b.ledger.upstream("stays", "bert", "s2")
			b.wantIDs(giver2, "s2")
			if n := b.ledger.pending(); n != 0 || b.ledger.Owner("moves") != "taker" {
				t.Errorf("%d pending, owner %q", n, b.ledger.Owner("moves"))
			}
		})
	}
}

// TestClaimsCountFromTheHandoverOn: a new version that is not proven has no say
// in who owns what, and may never have. // P9
func TestClaimsCountFromTheHandoverOn(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(done)
		green := &process{t: b.T, d: b.d, handle: done}
		changed := old.plugin.Facts
		changed.Claim.Categories = []string{"new"}
		green.plugin = b.d.Described(changed, green).(*Instance)
		b.upstreams("anna", "1")
		b.ledger.upstream("new", "anna", "2")
		b.wantIDs(old, "1")
		b.wantIDs(green)
		green.plugin.Ready()
		b.upstreams("anna", "3")
		b.wantIDs(green, "2")
		b.wantIDs(old, "1")
		if s := b.status(); len(s.Holding) != 1 || s.Holding[0].Category != "app" {
			t.Errorf("holding %+v, want what the new version does not take any more", s.Holding)
		}
	})
}

// TestRemovedPluginReturns: its events have waited for it. // P8
func TestRemovedPluginReturns(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		b.upstreams("anna", "1")
		b.wantIDs(p, "1")
		gone := b.retire(p, time.Second)
		if err := <-gone; err == nil {
			t.Fatal("drained what it holds")
		}
		b.d.Removed("echo")
		b.plugin("rest", "*", done)
		b.upstreams("anna", "2")
		synctest.Wait()
		b.wantIDs(b.echo(done), "1", "2")
	})
}

// TestNewProcessDiesWhileTheOldOneDrains: what the new one had is given to the
// one that follows; the old one, which was told to end, gets nothing again and
// keeps the lanes that it holds. // P5, P9
func TestNewProcessDiesWhileTheOldOneDrains(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		for _, id := range []string{"1", "2"} {
			b.ledger.upstream("app", "anna", "a"+id)
			b.ledger.upstream("app", "bert", "b"+id)
		}
		b.wantIDs(old, "a1", "b1")
		green := b.echo(nil)
		gone := b.retire(old, time.Minute)
		old.done(old.deliveries()[0])
		b.wantIDs(green, "a2") // in the middle of taking over
		green.plugin.Gone("exit status 2")
		b.wantIDs(old, "a1", "b1")
		back := b.echo(done) // the old content, started again
		b.wantIDs(back, "a2")
		green.plugin.Frame(&wire.PluginFrame{Done: []uint64{green.last().Delivery}}) // too late
		old.done(old.deliveries()[1])
		b.wantIDs(back, "a2", "b2")
		old.drained()
		b.wantEnded(gone)
		if ends := b.ledger.ends(); len(ends) != 4 {
			t.Errorf("ends: %+v", ends)
		}
	})
}

// TestNewProcessDiesBeforeItsTurn: it waits for the old lanes to be empty, and
// never serves. // P9
func TestNewProcessDiesBeforeItsTurn(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "1", "2")
		b.wantIDs(old, "1")
		green := b.echo(nil, unordered)
		gone := b.retire(old, time.Minute)
		green.plugin.Gone("exit status 2")
		old.done(old.last())
		old.drained()
		b.wantEnded(gone)
		b.wantIDs(b.echo(done), "2")
		b.wantIDs(green)
	})
}

// TestHungHandlerAtHandover: a lane stays with a process that can't let go of
// it, past the limit of its drain, until that one is gone; other lanes don't
// wait. // P5, P9
func TestHungHandlerAtHandover(t *testing.T) {
	booted(t, func(b *bench) {
		old := b.echo(nil)
		b.upstreams("anna", "a1", "a2")
		b.upstreams("bert", "b1")
		b.wantIDs(old, "a1", "b1")
		green := b.echo(done)
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
		defer cancel()
		drained := make(chan error, 1)
		go func() { drained <- old.plugin.Drain(ctx) }()
		synctest.Wait()
		b.upstreams("cora", "c1")
		b.wantIDs(green, "c1")
		if err := <-drained; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Drain: %v", err)
		}
		b.wantIDs(green, "c1") // the process is yet to be killed: it may be at work
		old.done(old.deliveries()[1])
		b.wantIDs(green, "c1") // and what it still ends, has ended
		old.plugin.Gone("did not exit when asked")
		b.wantIDs(green, "c1", "a1", "a2")
		if again := green.deliveries()[1]; again.Attempt != 1 {
			t.Errorf("attempt %d, want 1: it is not the handler that failed", again.Attempt)
		}
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}

// TestHandoversUnderFaults replaces a plugin again and again, at random times,
// while it retries, releases, conflicts, hangs, is paused, and while new
// versions die, and looks at every handing out: never an event before the one
// ahead of it is done, never one that a living process holds. // P5, P7, P8, P9
func TestHandoversUnderFaults(t *testing.T) {
	for seed := range uint64(100) {
		booted(t, func(b *bench) {
			w := &handovers{bench: b, seed: seed, rnd: rand.New(rand.NewPCG(seed, 2)), next: map[string]int{}, held: map[string]*process{}}
			for i := range w.total() {
				device := fmt.Sprint("d", i%7)
				b.ledger.upstream("app", device, fmt.Sprintf("%s-%d", device, i/7))
				if w.rnd.IntN(5) == 0 {
					b.ledger.conflict[uint64(i+1)] = 1 + w.rnd.IntN(3)
				}
			}
			w.begin()
			for steps := 0; b.ledger.pending() > 0; steps++ {
				if synctest.Wait(); steps > 5000 {
					t.Fatalf("seed %d: %d events still pending", seed, b.ledger.pending())
				}
				w.step()
			}
			if done := len(b.ledger.ends()) - w.retries; done != w.total() || w.versions < 10 {
				t.Errorf("seed %d: %d events ended, want %d; %d versions", seed, done, w.total(), w.versions)
			}
			w.exits()
		}, little(seed))
	}
}

// handovers is a plugin that is replaced at random.
type handovers struct {
	*bench
	seed     uint64
	rnd      *rand.Rand
	living   []*version // the last one takes events
	versions int
	retries  int
	paused   bool

	mu   sync.Mutex          // guards what follows, and the versions' open
	next map[string]int      // by device: the number that must come
	held map[string]*process // and who has one of it
}

// version is one process, and what of its deliveries has no answer.
type version struct {
	*process
	closed chan struct{}
	open   []*wire.Delivery
}

func (w *handovers) total() int { return 210 }

// begin makes a new version Ready, and drains the one before it.
func (w *handovers) begin() {
	v := &version{closed: make(chan struct{})}
	v.process = w.plugin("echo", "app", func(p *process, m *wire.Delivery) {
		w.mu.Lock()
		defer w.mu.Unlock()
		from, id := m.GetUpstream().Device, m.GetUpstream().MessageId
		if want := fmt.Sprintf("%s-%d", from, w.next[from]); id != want || w.held[from] != nil || p.told() {
			w.Errorf("seed %d: handed %s while %s is next (held: %v, told to drain: %v)", w.seed, id, want, w.held[from] != nil, p.told())
		}
		w.held[from] = p
		v.open = append(v.open, m)
	}, func(f *instance.Facts) { f.MaxAttempts, f.SuspectAfter, f.Closed = 0, 0, v.closed })
	w.versions++
	if n := len(w.living); n > 0 {
		old := w.living[n-1]
		go func() {
			_ = old.plugin.Drain(context.Background()) // until it is drained, or has died
			old.plugin.Gone("another version takes over")
		}()
	}
	w.living = append(w.living, v)
	synctest.Wait()
}

// exits ends the older versions that hold nothing.
func (w *handovers) exits() {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := w.living[len(w.living)-1]
	w.living = slices.DeleteFunc(w.living, func(v *version) bool {
		over := v != newest && len(v.open) == 0
		if over {
			v.drained()
		}
		return over
	})
}

// told reports whether it was told to drain: then it gets nothing more.
func (p *process) told() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.Drain != nil {
			return true
		}
	}
	return false
}

// die ends a process with all that it holds.
func (w *handovers) die(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.living[i]
	w.living = append(w.living[:i:i], w.living[i+1:]...)
	for device, p := range w.held {
		if p == v.process {
			delete(w.held, device)
		}
	}
	close(v.closed)
	v.plugin.Gone("killed")
	for _, m := range v.open {
		v.done(m) // too late
	}
}

// step is one thing that happens.
func (w *handovers) step() {
	w.exits()
	synctest.Wait()
	i := w.rnd.IntN(len(w.living))
	v := w.living[i]
	switch w.rnd.IntN(24) {
	case 0:
		w.begin()
		return
	case 1:
		w.begin() // two in a row
		w.begin()
		return
	case 2: // crashes, or hangs past the limit of its drain
		if w.die(i); len(w.living) == 0 || i == len(w.living) {
			w.begin() // the one that took events is gone: pluginhost starts another one
		}
		return
	case 3:
		change := w.d.Pause
		if w.paused {
			change = w.d.Resume
		}
		if err := change(w.Context(), "echo"); err != nil {
			w.Fatal(err)
		}
		w.paused = !w.paused
		return
	}
	if !w.answer(v) {
		time.Sleep(time.Second) // retries become due
	}
}

// answer ends a handling of v, one way or another; false: it has none.
func (w *handovers) answer(v *version) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(v.open) == 0 {
		return false
	}
	n := w.rnd.IntN(len(v.open))
	m := v.open[n]
	v.open = append(v.open[:n:n], v.open[n+1:]...)
	from, seq := m.GetUpstream().Device, w.seq(m)
	delete(w.held, from)
	switch {
	case w.rnd.IntN(10) == 0:
		w.retries++
		v.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: 10})
	case w.rnd.IntN(10) == 0:
		v.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RELEASE})
	default:
		if w.ledger.conflicts(seq) == 0 {
			w.next[from]++
		}
		v.done(m)
	}
	return true
}

// seq is the number of the event that was handed out.
func (w *handovers) seq(m *wire.Delivery) uint64 {
	var device, n int
	if _, err := fmt.Sscanf(m.GetUpstream().MessageId, "d%d-%d", &device, &n); err != nil {
		w.Fatal(err)
	}
	return uint64(7*n + device + 1)
}
