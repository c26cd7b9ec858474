package ccs_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/sdk/message"
)

// Several connections carry about the same, and one that answers nothing takes
// a window of downstreams at most.
func TestConnectionsShareTheLoad(t *testing.T) { // P3
	p := plan{
		server:  ccssim.Options{AckDelay: ccssim.Range{Min: 20 * time.Millisecond}},
		session: func(o *ccs.Options) { o.Connections = 4 },
	}
	host(t, p, func(w *whole) {
		w.until("all", func() bool { return w.standing() == 4 })
		const all = 8000
		began := time.Now()
		w.sendN("tokA", 1, all)
		w.acked(all)
		if d := time.Since(began); d > 600*time.Millisecond { // 4 windows each 20 ms: 400 ms
			t.Errorf("%d downstreams took %v", all, d)
		}
		for id := range 4 {
			if n := w.conn(id + 1).Downstreams; n < all/4*3/4 || n > all/4*5/4 {
				t.Errorf("connection %d carried %d, want about %d", id+1, n, all/4)
			}
		}
		for i := range 400 { // one at a time
			w.sendN("tokB", 1_000_000+i, 1)
			time.Sleep(30 * time.Millisecond)
		}
		for id := range 4 {
			if n := w.conn(id + 1).Downstreams; n == all {
				t.Errorf("connection %d carries nothing when there is little", id+1)
			}
		}

		w.srv.CutWith(ccssim.Cut{Mode: ccssim.CutBlackhole, Conn: 2}) //nolint:errcheck // a mode that exists
		began = time.Now()
		w.sendN("tokA", 2*all, all)
		w.until("all but a window", func() bool { return w.led.Counts().Acked >= 2*all+400-100 })
		if d := time.Since(began); d > 900*time.Millisecond {
			t.Errorf("beside a dead connection %d downstreams took %v", all, d)
		}
		w.acked(2*all + 400)
		w.legal()
	})
}

// live is how many connections are open at the simulator.
func (w *whole) live() (n int) {
	for _, c := range w.srv.Report().Conns {
		if c.State != "" {
			n++
		}
	}
	return n
}

// What drains counts against max_connections. Where a replacement has no place
// the oldest that drains gives up its own, as soon as all on it is answered.
func TestMaxConnections(t *testing.T) {
	p := plan{
		server:  ccssim.Options{AckDelay: ccssim.Range{Min: 15 * time.Second}},
		session: func(o *ccs.Options) { o.Connections, o.MaxConnections, o.Grace = 4, 5, time.Minute },
	}
	host(t, p, func(w *whole) {
		w.until("all", func() bool { return w.standing() == 4 })
		w.sendN("tokA", 1, 300) // on all of them
		w.until("in flight", func() bool { return w.srv.Counts().Downstreams == 300 })
		drained := time.Now()
		for id := range 4 {
			w.srv.DrainWith(ccssim.Drain{Conn: id + 1}) // CCS never closes them
		}
		w.until("the first replacement", func() bool { return w.standing() == 1 })
		if d := time.Since(drained); d > 100*time.Millisecond {
			t.Errorf("the first replacement took %v", d)
		}
		for w.standing() < 4 {
			synctest.Wait() // the simulator has seen what we closed
			if n := w.live(); n > 5 {
				t.Fatalf("%d connections at once, want 5 at most", n)
			}
			if time.Since(drained) > 3*time.Minute {
				t.Fatalf("only %d stand after %v: %+v", w.standing(), time.Since(drained), w.sessions[0].Status().Connections)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(drained); d < 15*time.Second {
			t.Errorf("the places were given up after %v, before the answers", d)
		}
		w.acked(300)
		if n := w.srv.Counts().DuplicateDown; n > 0 {
			t.Errorf("%d downstreams twice", n)
		}
		w.legal()
	})
}

// CCS refuses what is over its own limit: the others go on, and one slot alone
// asks, ever less often.
func TestConnectionsOverTheLimitOfCCS(t *testing.T) { // P10
	p := plan{server: ccssim.Options{Connections: 3}, session: func(o *ccs.Options) { o.Connections = 30 }}
	host(t, p, func(w *whole) {
		time.Sleep(time.Minute)
		before := w.srv.Counts().Connections
		time.Sleep(2 * time.Hour)
		if n := w.srv.Counts().Connections - before; n < 24 || n > 300 {
			t.Errorf("%d tries in 2 h", n)
		}
		if n := w.standing(); n != 3 {
			t.Errorf("%d stand, want 3", n)
		}
		w.sendN("tokA", 1, 300)
		w.acked(300)
	})
}

// The same while slots still queue for connect_rate: the first refusal stops
// those that wait there, too.
func TestRefusalStopsSlotsThatQueue(t *testing.T) { // P10
	far := func(o *ccs.Options) {
		o.Connections = 300
		dial := o.Dial
		o.Dial = func(ctx context.Context, at string) (net.Conn, error) {
			time.Sleep(200 * time.Millisecond) // so all others are in the queue by then
			return dial(ctx, at)
		}
	}
	host(t, plan{server: ccssim.Options{Connections: 3}, session: far, connects: 60}, func(w *whole) {
		w.until("three", func() bool { return w.standing() == 3 })
		time.Sleep(5 * time.Minute)
		if n := w.srv.Counts().Connections; n > 20 {
			t.Errorf("%d tries in 5 minutes, where CCS takes three", n)
		}
	})
}

// A slot that CCS refuses holds no other one back: one whose connection drains
// has a new one at once, whatever the refused one still has to wait.
func TestRefusedSlotHoldsNobodyBack(t *testing.T) { // P10; ccs-protocol.md §7
	p := plan{server: ccssim.Options{Connections: 3}, session: func(o *ccs.Options) { o.Connections = 4 }}
	host(t, p, func(w *whole) {
		w.until("three", func() bool { return w.standing() == 3 })
		for i := range 20 {
			time.Sleep(2 * time.Minute) // one of the four is refused now and then, ever less often
			id := w.newest()
			for lost := range 2 { // drained, and then cut
				began := time.Now()
				if lost == 0 {
					w.srv.DrainWith(ccssim.Drain{Conn: id, Grace: 1})
				} else {
					w.srv.CutWith(ccssim.Cut{Conn: w.newest()}) //nolint:errcheck // a mode that exists
				}
				w.until("another one", func() bool { return w.standing() == 3 && w.newest() != id })
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("round %d: the replacement took %v", i, d)
				}
				id = w.newest()
			}
		}
		if n := w.srv.Counts().Connections; n > 200 {
			t.Errorf("%d connections in 40 minutes", n)
		}
	})
}

// newest is the number of the newest connection that the simulator let in.
func (w *whole) newest() (id int) {
	for _, c := range w.srv.Report().Conns {
		if c.State == ccssim.StateBound {
			id = max(id, c.ID)
		}
	}
	return id
}

// Where CCS counts what drains, it refuses the replacements too. As soon as it
// has closed one of the old, there is a place.
func TestPlaceOfADrainedConnectionIsTaken(t *testing.T) { // P10
	for _, connections := range []int{2, 3, 30} {
		p := plan{server: ccssim.Options{Connections: 2}, session: func(o *ccs.Options) { o.Connections = connections }}
		host(t, p, func(w *whole) {
			w.until("two", func() bool { return w.standing() == 2 })
			time.Sleep(5 * time.Second)
			const grace = 3 * time.Second
			w.srv.DrainWith(ccssim.Drain{Grace: ccssim.Duration(grace)})
			drained := time.Now()
			w.until("one again", func() bool { return w.standing() > 0 })
			if d := time.Since(drained); d > grace+2*time.Second {
				t.Errorf("%d slots: a new connection after %v, want soon after the old ones' end (%v)", connections, d, grace)
			}
			w.until("both again", func() bool { return w.standing() == 2 })
			if d := time.Since(drained); d > grace+time.Minute {
				t.Errorf("%d slots: both after %v", connections, d)
			}
		})
	}
}

// Sessions share the rate of new connections, each in its turn, however many
// slots one has to fill.
func TestConnectRateIsSharedInTurns(t *testing.T) {
	small := func(o *ccs.Options) { o.Name, o.SenderID, o.Key, o.Connections = "small", "2", "k2", 3 }
	p := plan{
		server:   ccssim.Options{Senders: map[string]string{"2": "k2"}},
		session:  func(o *ccs.Options) { o.Connections = 300 },
		others:   []func(*ccs.Options){small},
		connects: 60,
	}
	host(t, p, func(w *whole) {
		at := make([]int, 60) // connections made by the end of each second, and before the first
		for second := 1; w.srv.Counts().Logins < 306; second++ {
			time.Sleep(time.Second)
			at = append(at, w.srv.Counts().Connections)
			if n := at[second+59] - at[second-1]; n > 60 {
				t.Fatalf("%d connections in a minute, want 60 at most", n)
			}
			if second == 10 || second == 40 {
				if n := connections(w.sessions[1]); n != 3 {
					t.Errorf("after %d s the small session has %d connections, want 3", second, n)
				}
			}
			if second == 25 { // the large one still has most of its slots to fill
				for _, c := range w.srv.Report().Conns {
					if c.Sender == "2" {
						w.srv.CutWith(ccssim.Cut{Conn: c.ID}) //nolint:errcheck // a mode that exists
					}
				}
			}
			if second > 600 {
				t.Fatalf("%d logins", w.srv.Counts().Logins)
			}
		}
	})
}

func connections(s *ccs.Session) (ready int) {
	for _, c := range s.Status().Connections {
		if c.State == ccs.Ready {
			ready++
		}
	}
	return ready
}

// One sender that does badly, in each way that there is, never touches another:
// the good one keeps its connection, its acks come as fast as alone, and its
// downstreams go out.
func TestSendersAreIsolated(t *testing.T) { // P10
	type bad struct {
		server  ccssim.Options
		change  func(*ccs.Options)
		trouble func(w *whole, srv *ccssim.Server) // again each second
	}
	for name, b := range map[string]bad{
		"bad key":  {change: func(o *ccs.Options) { o.Key, o.Connections = "wrong", 50 }},
		"too many": {server: ccssim.Options{Connections: 1}, change: func(o *ccs.Options) { o.Connections = 200 }},
		"slow": {server: ccssim.Options{AckDelay: ccssim.Range{Min: time.Hour}},
			trouble: func(w *whole, _ *ccssim.Server) { w.sendTo("2", 100) }},
		"frozen": {trouble: func(w *whole, srv *ccssim.Server) { srv.Freeze(true); w.sendTo("2", 100) }},
		"flooding": {server: ccssim.Options{Window: 1 << 20},
			trouble: func(_ *whole, srv *ccssim.Server) {
				srv.StartDevices(ccssim.Devices{Count: 10, Limit: 1000, Size: 300}) //nolint:errcheck // it is legal
			}},
		"cut":     {change: quick, trouble: func(w *whole, srv *ccssim.Server) { srv.Cut(); w.sendTo("2", 10) }},
		"drained": {trouble: func(_ *whole, srv *ccssim.Server) { srv.Drain() }},
		"poison": {change: quick, trouble: func(w *whole, srv *ccssim.Server) {
			srv.Nack(ccssim.Nack{Count: 3, StreamError: "invalid-xml"})
			w.sendTo("2", 20)
		}},
		"refused account": {trouble: func(w *whole, srv *ccssim.Server) {
			srv.Nack(ccssim.Nack{Count: 1, Code: "AUTHENTICATION_FAILED"})
			w.sendTo("2", 20)
		}},
		"broken XML": {change: quick, trouble: func(_ *whole, srv *ccssim.Server) { srv.Inject("<!-- -->") }},
	} {
		t.Run(name, func(t *testing.T) {
			var srv *ccssim.Server
			second := func(o *ccs.Options) {
				var err error
				b.server.SenderID = "2"
				if srv, err = ccssim.New(b.server); err != nil {
					t.Fatal(err)
				}
				o.Name, o.SenderID, o.Key = "bad", srv.SenderID(), srv.Key()
				o.Dial = func(context.Context, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					srv.ServeConn(theirs)
					return ours, nil
				}
				if b.change != nil {
					b.change(o)
				}
			}
			p := plan{commit: 5 * time.Millisecond, others: []func(*ccs.Options){second}}
			host(t, p, func(w *whole) {
				defer func() { go srv.Close() }()
				rate, seconds := 50, 40
				if testing.Short() {
					seconds = 8
				}
				if err := w.srv.StartDevices(ccssim.Devices{Count: 10, Rate: float64(rate), Limit: seconds * rate}); err != nil {
					t.Fatal(err)
				}
				for i := range seconds {
					if b.trouble != nil {
						b.trouble(w, srv)
					}
					sent := time.Now()
					w.sendN("tokA", 10*i, 10)
					w.until("ten more", func() bool { return len(w.received("tokA")) == 10*(i+1) })
					if d := time.Since(sent); d > 200*time.Millisecond {
						t.Fatalf("in second %d downstreams took %v", i, d)
					}
					time.Sleep(time.Second - time.Since(sent))
				}
				w.until("acks", func() bool { return w.srv.Counts().Acked == uint64(seconds*rate) })
				// Alone it is a commit or two, 10 ms. A flood is not read further than
				// the ledger follows, and so adds a few more.
				if l := w.srv.Report().AckLatency; l.Max > 250*time.Millisecond {
					t.Errorf("acks took up to %v", l.Max)
				}
				if c, st := w.srv.Counts(), w.sessions[0].Status(); c.Logins != 1 || st.LastError != nil {
					t.Errorf("%d logins, %v", c.Logins, st.LastError)
				}
				for _, o := range w.outcomes() {
					if o.Session == w.sender && o.Status != message.Acked {
						t.Errorf("%+v", o)
					}
				}
				w.legal()
			})
		})
	}
}

// sendTo stores n downstreams for the session of a sender, and waits for nothing but the disk.
func (w *whole) sendTo(sender string, n int) {
	w.t.Helper()
	for range n {
		w.made++
		m := one("tokX", fmt.Sprint(sender, "-", w.made), nil)
		m.Session = sender
		w.send(m)
	}
}

// A session whose slots wait says so, and why the last of them ended.
func TestStatusOfSlotsThatWait(t *testing.T) {
	p := plan{unopened: true, session: func(o *ccs.Options) { o.Connections, o.Key = 5, "wrong" }}
	host(t, p, func(w *whole) {
		time.Sleep(10 * time.Second)
		st := w.sessions[0].Status()
		states := map[ccs.State]int{}
		for _, c := range st.Connections {
			states[c.State]++
		}
		if states[ccs.Waiting] != 5 || st.LastError == nil || !strings.Contains(st.LastError.Error(), "not-authorized") {
			t.Errorf("%v, %v", states, st.LastError)
		}
		numbers := []int{}
		for _, c := range st.Connections {
			numbers = append(numbers, c.Number)
		}
		if !slices.IsSorted(numbers) {
			t.Errorf("not oldest first: %v", numbers)
		}
	})
}
