package outbox

import (
	"testing"
	"time"

	"balhost/sdk/message"
)

// A paused sender's downstreams wait, by whichever way they go; what is in flight ends, what
// waits expires, and all others go on. // P4
func TestPausedSenderSendsNothing(t *testing.T) {
	simulate(t, func(t *testing.T, l *ledger, b *Outbox) {
		l.accept("tokA", 0, -1)
		expect(t, "before", take(b, 1), 1)
		told := 0
		b.Pause("main")
		l.accept("tokA", 0, -1)
		l.accept("tokB", 0, time.Second)
		at := b.Attach("main", func() { told++ }, message.Token("tokA"))
		if got := b.TakeAt("main", at, 10); len(got) != 0 {
			t.Errorf("its device got %+v", got)
		}
		expect(t, "while it is paused", take(b, 10))
		b.Answered("main", 1, acked)
		if e := l.end(t, 1); e.Status != message.Acked {
			t.Errorf("in flight: %+v", e)
		}
		time.Sleep(10 * time.Second)
		if e := l.end(t, 3); e.Status != message.Expired {
			t.Errorf("it has a TTL: %+v", e)
		}
		more, before := b.Changed("main"), told
		b.Resume("main")
		<-more
		if told == before {
			t.Error("the device's connection was not woken")
		}
		if got := b.TakeAt("main", at, 10); len(got) != 1 || got[0].Seq != 2 {
			t.Errorf("afterwards: %+v", got)
		}
	})
}
