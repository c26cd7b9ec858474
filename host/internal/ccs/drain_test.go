package ccs

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
)

const graceful = ccssim.Duration(20 * time.Second)

// ccs-protocol.md §12 check (b): drain with a full window and upstream flowing.
func TestDrain(t *testing.T) { // P1, P3; ccs-protocol.md §7
	o := ccssim.Options{AckDelay: ccssim.Range{Min: 5 * time.Second}}
	simulate(t, o, nil, func(w *world) {
		w.inbox.set(func(b *inbox) { b.hold = true })
		for range 30 {
			w.srv.Upstream("tokA", "app", nil)
		}
		w.outbox.send(1, 150, "tokA")
		w.until("a full window", func(c ccssim.Counts) bool { return c.Downstreams == 100 && c.Written == 30 })
		drained := time.Now()
		w.srv.DrainWith(ccssim.Drain{Grace: graceful})
		w.until("the rest on a replacement", func(c ccssim.Counts) bool { return c.Downstreams == 150 })
		if d := time.Since(drained); d > 100*time.Millisecond {
			t.Errorf("the replacement took %v", d)
		}
		st := w.s.Status().Connections
		if len(st) != 2 || st[0].State != Draining || st[0].InFlight != 100 || st[1].State != Ready {
			t.Errorf("connections %+v", st)
		}
		w.inbox.release()
		w.until("acks", func(c ccssim.Counts) bool { return c.Acked == 30 })
		if n := connReport(w.srv, 1).Acks; n != 30 {
			t.Errorf("%d acks on the draining connection, want 30", n)
		}
		w.until("all answers", func(c ccssim.Counts) bool { return c.AckedDown == 150 })
		time.Sleep(5 * time.Second)
		if st := w.s.Status().Connections; len(st) != 2 {
			t.Errorf("we closed what is CCS's to close: %+v", st)
		}
		time.Sleep(time.Minute)
		if c := w.srv.Counts(); c.DuplicateDown > 0 || c.Nacked > 0 || c.Logins != 2 {
			t.Errorf("%d downstreams twice, %d nacked, %d logins", c.DuplicateDown, c.Nacked, c.Logins)
		}
		if st := w.s.Status().Connections; len(st) != 1 {
			t.Errorf("the drained connection is still there: %+v", st)
		}
		w.legal()
	})
}

func connReport(srv *ccssim.Server, id int) ccssim.ConnReport {
	for _, c := range srv.Report().Conns {
		if c.ID == id {
			return c
		}
	}
	return ccssim.ConnReport{}
}

// A drain that was not announced is noticed by its first nack.
func TestDrainNoticedByNack(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.DrainWith(ccssim.Drain{Silent: true, Grace: graceful})
		w.outbox.send(1, 10, "tokA")
		w.until("acks on the replacement", func(c ccssim.Counts) bool { return c.AckedDown == 10 && c.Logins == 2 })
		w.outbox.look(func(b *outbox) {
			if len(b.nacked) == 0 || b.nacked[1] != "CONNECTION_DRAINING" {
				t.Errorf("nacked %v", b.nacked)
			}
		})
		w.legal()
	})
}

// ccs-protocol.md §12 check (c), several times over, all of them open at once.
func TestDrainTheReplacementToo(t *testing.T) {
	o := ccssim.Options{AckDelay: ccssim.Range{Min: 40 * time.Second}}
	simulate(t, o, nil, func(w *world) {
		const n = 4
		for i := 1; i <= n; i++ {
			w.until("login", func(c ccssim.Counts) bool { return c.Logins == i })
			w.outbox.send(i*100, 10, "tokA")
			w.until("downstreams", func(c ccssim.Counts) bool { return c.Downstreams == uint64(10*i) })
			w.srv.DrainWith(ccssim.Drain{Conn: i, Grace: ccssim.Duration(50 * time.Second)})
		}
		w.until("the last login", func(c ccssim.Counts) bool { return c.Logins == n+1 })
		if st := w.s.Status().Connections; len(st) != n+1 {
			t.Errorf("%d connections, want %d", len(st), n+1)
		}
		w.until("answers", func(c ccssim.Counts) bool { return c.AckedDown == 10*n })
		time.Sleep(time.Minute)
		if c := w.srv.Counts(); c.DuplicateDown > 0 || c.Logins != n+1 {
			t.Errorf("%d twice, %d logins", c.DuplicateDown, c.Logins)
		}
		w.legal()
	})
}

// A peer that drains every connection at once gets no storm of new ones. But the waits
// stay short: while the only connection drains, nothing goes out.
func TestDrainStormIsSlowedDown(t *testing.T) { // P10; ccs-protocol.md §7
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		ended, last, longest, logins := time.Now().Add(10*time.Minute), time.Now(), time.Duration(0), 0
		for time.Now().Before(ended) {
			if n := w.srv.Counts().Logins; n > logins {
				logins, last = n, time.Now()
				w.srv.DrainWith(ccssim.Drain{Grace: ccssim.Duration(time.Second)}) // once each: what is drained again lives on for a second
			}
			time.Sleep(100 * time.Millisecond)
			longest = max(longest, time.Since(last))
		}
		if logins > 300 { // 30 a minute; CCS takes 400
			t.Errorf("%d logins in 10 minutes", logins)
		}
		if longest > drainPause+200*time.Millisecond {
			t.Errorf("no new connection for %v", longest)
		}
	})
}

// CCS should close what it drains. If it does not, we do.
func TestDrainThatNeverEndsIsGuarded(t *testing.T) {
	simulate(t, ccssim.Options{}, nil, func(w *world) {
		w.srv.Nack(ccssim.Nack{Count: 3})
		w.outbox.send(1, 3, "tokA")
		w.until("three", func(c ccssim.Counts) bool { return c.Downstreams == 3 })
		w.srv.Drain()
		w.until("replacement", func(c ccssim.Counts) bool { return c.Logins == 2 })
		time.Sleep(9 * time.Minute)
		if n := len(w.s.Status().Connections); n != 2 {
			t.Fatalf("%d connections after 9 minutes, want 2", n)
		}
		time.Sleep(90 * time.Second)
		if c := w.srv.Counts(); c.AckedDown != 3 {
			t.Errorf("%d of 3 acked over the replacement", c.AckedDown)
		}
		if n := len(w.s.Status().Connections); n != 1 {
			t.Errorf("%d connections in the end, want 1", n)
		}
		w.legal()
	})
}

// Being asked to stop is Draining with a limit: answers and acks are waited for.
func TestStopWaitsForAnswersAndAcks(t *testing.T) { // P1, P3
	o := ccssim.Options{AckDelay: ccssim.Range{Min: 2 * time.Second}}
	synctest.Test(t, func(t *testing.T) {
		w := start(t, o, nil)
		w.until("login", func(c ccssim.Counts) bool { return c.Logins == 1 })
		w.inbox.set(func(b *inbox) { b.hold = true })
		w.srv.Upstream("tokA", "app", nil)
		w.outbox.send(1, 10, "tokA")
		w.until("downstreams", func(c ccssim.Counts) bool { return c.Downstreams == 10 })
		w.stop()
		w.outbox.send(11, 10, "tokA")
		time.Sleep(3 * time.Second)
		w.inbox.release()
		if err := <-w.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if c := w.srv.Counts(); c.AckedDown != 10 || c.Acked != 1 || c.Downstreams != 10 {
			t.Errorf("at the end %+v", c)
		}
		w.legal()
		w.srv.Close()
	})
}

func TestStopIsBounded(t *testing.T) {
	for name, stuck := range map[string]func(*world){
		"no answer": func(w *world) { w.srv.Nack(ccssim.Nack{Count: -1}) },
		"no commit": func(w *world) { w.inbox.set(func(b *inbox) { b.hold = true }) },
		"frozen":    func(w *world) { w.srv.Freeze(true) },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, ccssim.Options{}, nil)
			w.until("login", func(c ccssim.Counts) bool { return c.Logins == 1 })
			stuck(w)
			w.srv.Upstream("tokA", "app", nil)
			w.outbox.send(1, 10, "tokA")
			synctest.Wait()
			asked := time.Now()
			w.stop()
			if err := <-w.ended; err != nil {
				t.Errorf("%s: Run: %v", name, err)
			}
			if d := time.Since(asked); d > 7*time.Second {
				t.Errorf("%s: stopping took %v", name, d)
			}
			w.outbox.look(func(b *outbox) {
				if len(b.taken) > 0 {
					t.Errorf("%s: %d downstreams not given back", name, len(b.taken))
				}
			})
			w.srv.Close()
		})
	}
}
