package ccs

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/flow"
)

// When CCS ends the stream, upstreams that are stored by then or a moment later are
// acked on their connection. A commit that takes longer is not waited for.
func TestStoredUpstreamsAreAckedAtTheEnd(t *testing.T) { // P1
	for name, end := range map[string]func(*world){
		"close":        func(w *world) { w.srv.Inject("</stream:stream>") },
		"stream error": func(w *world) { w.srv.StreamError("system-shutdown") },
	} {
		for commit, acks := range map[time.Duration]bool{closeWait / 4: true, 10 * closeWait: false} {
			simulate(t, ccssim.Options{}, nil, func(w *world) {
				w.inbox.set(func(b *inbox) { b.hold = true })
				for range 5 {
					w.srv.Upstream("tokA", "app", nil)
				}
				synctest.Wait()
				asked := time.Now()
				end(w)
				time.Sleep(commit)
				w.inbox.release()
				w.until("all acks", func(c ccssim.Counts) bool { return c.Acked == 5 })
				if n := w.srv.Counts().Redelivered; (n == 0) != acks {
					t.Errorf("%s, commit after %v: %d came again", name, commit, n)
				}
				w.until("the next", func(c ccssim.Counts) bool { return c.Logins == 2 })
				if d := time.Since(asked); d > 20*closeWait {
					t.Errorf("%s: the next connection stood after %v", name, d)
				}
				w.legal()
			})
		}
	}
}

// When a connection ends for a reason of ours, nothing in flight is blamed.
func TestOurOwnEndsBlameNobody(t *testing.T) { // P3
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 3}) // never answered
		w.outbox.send(1, 3, "tokA")
		synctest.Wait()
		w.stop()
		if err := <-w.ended; err != nil {
			t.Fatal(err)
		}
		w.ended <- nil
		w.outbox.look(func(b *outbox) {
			if len(b.ends) != 1 || b.ends[0].Fault != flow.Ours || len(b.returned) != 3 {
				t.Errorf("returned %v over %+v", b.returned, b.ends)
			}
		})
	})
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 1})
		w.outbox.send(1, 1, "tokA")
		w.until("again", func(c ccssim.Counts) bool { return c.AckedDown == 1 })
		w.outbox.look(func(b *outbox) {
			if len(b.ends) != 1 || b.ends[0].Fault == flow.Ours {
				t.Errorf("left unanswered, which is no reason of ours: %+v", b.ends)
			}
		})
	})
}
