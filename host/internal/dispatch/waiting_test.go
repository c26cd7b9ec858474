package dispatch

import (
	"container/heap"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/wire"
)

// P9: what failed under old content is tried by the new one at once, what was out
// when that took over, too; a time that its handler named is kept, and a process that was
// only started again changes nothing.
func TestNewContentWakes(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		runs := func(content string) func(*instance.Facts) { return func(f *instance.Facts) { f.Content = content } }
		slow := make(chan struct{})
		fails := func(p *process, m *wire.Delivery) {
			r := &wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: -1, Error: "no"}
			switch m.GetUpstream().GetMessageId() {
			case "asked":
				r.DelayMs = time.Hour.Milliseconds()
			case "slow":
				<-slow
			}
			p.result(r)
		}
		b.echo(fails, runs("one"))
		for _, id := range []string{"failed", "asked", "slow"} {
			ledger.upstream("app", id, id)
		}
		synctest.Wait()
		again := b.echo(fails, runs("one"))
		b.wantIDs(again)
		new := b.echo(done, runs("two"))
		synctest.Wait()
		close(slow)
		synctest.Wait()
		got := new.ids()
		if slices.Sort(got); !slices.Equal(got, []string{"failed", "slow"}) {
			t.Errorf("the new content got %q at once", got)
		}
	})
}

// What waits for a time is told, and can be tried now: one event, a plugin's, or
// all. Its lane goes on behind it, in order. // P5
func TestWaitingIsTriedNow(t *testing.T) {
	ledger := newLedger()
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		calm := false
		handle := func(p *process, m *wire.Delivery) {
			if calm {
				done(p, m)
				return
			}
			p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: (time.Duration(m.GetUpstream().GetMessageId()[0]-'0') * time.Hour).Milliseconds(), Error: "later"})
		}
		p := b.echo(handle)
		q := b.plugin("other", "app2", handle)
		anna := ledger.upstream("app", "anna", "2")
		b.upstreams("anna", "3")
		bert := ledger.upstream("app", "bert", "1")
		ledger.upstream("app2", "carl", "5")
		synctest.Wait()
		now := time.Now()
		waiting, all, err := b.d.Waiting(context.Background(), "", 2)
		if err != nil || all != 3 || len(waiting) != 2 || waiting[0].Seq != bert || waiting[1].Seq != anna || waiting[1].Behind != 1 ||
			waiting[0].Attempts != 1 || waiting[0].Until.Sub(now).Round(time.Minute) != time.Hour {
			t.Errorf("%d wait: %+v, %v", all, waiting, err)
		}
		s, err := b.d.Status(context.Background())
		if err != nil || s.Plugins[0].Waiting != 2 || s.Plugins[0].LastTry.Sub(now).Round(time.Minute) != 2*time.Hour || s.Plugins[0].NextTry.Sub(now).Round(time.Minute) != time.Hour {
			t.Errorf("status: %+v, %v", s.Plugins, err)
		}
		before, other := len(p.ids()), len(q.ids())
		calm = true
		if n, err := b.d.Try(context.Background(), "", func(seq uint64) bool { return seq == anna }); n != 1 || err != nil {
			t.Errorf("tried %d, %v", n, err)
		}
		synctest.Wait()
		if got := len(p.ids()) - before; got != 2 {
			t.Errorf("%d were handed out, should be the event and the one behind it", got)
		}
		if n, err := b.d.Try(context.Background(), "echo", func(uint64) bool { return true }); n != 1 || err != nil {
			t.Errorf("tried %d of a plugin, %v", n, err)
		}
		synctest.Wait()
		if got := len(p.ids()) - before; got != 3 || len(q.ids()) != other {
			t.Errorf("%d were handed out, and %d of the other plugin", got, len(q.ids())-other)
		}
		if n, err := b.d.Try(context.Background(), "", func(uint64) bool { return true }); n != 1 || err != nil {
			t.Errorf("tried %d of all, %v", n, err)
		}
		synctest.Wait()
		if ledger.pending() != 0 {
			t.Errorf("%d are pending", ledger.pending())
		}
	})
}

// The first lanes of a heap are those of its order, however many are asked for.
func TestFirstOfAHeap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for size := range 40 {
		var h dueHeap
		for i := range size {
			l := &lane{}
			l.events.push(entry.Event{Seq: uint64(i), Due: time.Unix(random.Int64N(20), 0)})
			heap.Push(&h, l)
		}
		for _, most := range []int{0, 1, size / 2, size, size + 1, math.MaxInt} {
			some, want := h.first(most), slices.SortedStableFunc(slices.Values(h), func(a, b *lane) int { return a.head().Due.Compare(b.head().Due) })
			if len(some) != min(most, size) {
				t.Fatalf("%d of %d: %d", most, size, len(some))
			}
			for i, l := range some {
				if !l.head().Due.Equal(want[i].head().Due) {
					t.Fatalf("%d of %d: at %d comes %v, want %v", most, size, i, l.head().Due, want[i].head().Due)
				}
			}
		}
	}
}
