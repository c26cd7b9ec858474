package outbox

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
)

// still is a ledger that doesn't answer Run while stands is open.
type still struct {
	*ledger
	stands chan struct{}
}

func (s still) Downstreams(after uint64, max int) []entry.Downstream {
	<-s.stands
	return s.ledger.Downstreams(after, max)
}

// P10: Alive does not return while Run hangs, though nobody holds a lock. It returns
// at once when Run goes on, or has ended.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := still{newLedger(), make(chan struct{})}
		b := New(Options{Ledger: l})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = b.Run(ctx) }()
		alive := make(chan struct{})
		go func() {
			defer close(alive)
			b.Alive()
		}()
		time.Sleep(time.Hour)
		select {
		case <-alive:
			t.Error("it stands still, and is said to be alive")
		default:
		}
		b.Stats("main") // which is why no lock tells
		close(l.stands)
		<-alive
		cancel()
		synctest.Wait()
		began := time.Now()
		if b.Alive(); time.Since(began) > 0 {
			t.Error("after its end it let somebody wait")
		}
	})
}
