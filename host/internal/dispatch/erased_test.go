package dispatch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// erase takes events out of the fake ledger, as a person's erasure does.
func (f *fakeLedger) erase(seqs ...uint64) (gone []entry.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, seq := range seqs {
		for i, e := range f.events {
			if e.Seq == seq {
				gone = append(gone, e)
				f.events = append(f.events[:i], f.events[i+1:]...)
				break
			}
		}
		delete(f.bodies, seq)
	}
	return gone
}

// Whatever an erased event does at that moment, its lane goes on without it, and the count of what
// is pending is right. // P5
func TestErasedEvents(t *testing.T) {
	booted(t, func(b *bench) {
		var held []*wire.Delivery
		p := b.echo(func(p *process, m *wire.Delivery) { held = append(held, m) })
		b.upstreams("anna", "1", "2", "3", "4")
		b.upstreams("berta", "5", "6")
		synctest.Wait()
		seen, err := b.d.Seen(context.Background())
		if err != nil || seen == 0 || len(held) != 2 {
			t.Fatalf("seen %d, %d handed out, %v", seen, len(held), err)
		}
		// 1 and 5 are with handlers: the ledger erases none that is leased, but 5 was leased just after.
		gone := b.ledger.erase(seen-4, seen-2, seen-1)
		if len(gone) != 3 {
			t.Fatalf("erased %d", len(gone))
		}
		b.d.Gone(gone)
		synctest.Wait()
		p.done(held[0])
		p.done(held[1])
		time.Sleep(time.Minute)
		synctest.Wait()
		for len(held) > 2 {
			m := held[2]
			held = append(held[:2], held[3:]...)
			p.done(m)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		synctest.Wait()
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d are left", n)
		}
		for _, pl := range b.status().Plugins {
			if pl.Pending != 0 {
				t.Errorf("%s has %d pending", pl.Name, pl.Pending)
			}
		}
	})
}
