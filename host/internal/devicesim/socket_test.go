package devicesim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
)

// connect runs the device's socket until f returns. It is given back how Connect ended.
func connect(ctx context.Context, d *Device, f func()) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	g.Go(func() { err = d.Connect(ctx) })
	f()
	cancel()
	g.Wait()
	return err
}

// Over a socket the oldest goes first, at most max_unacked without an ack; what a cut
// leaves un-acked goes again, with its id. Sheet C3.
func TestSocketSendsAgain(t *testing.T) {
	most := 0
	prepare := func(g *gate) {
		g.socket = func(n int, c *websocket.Conn, hello frame.Frame) {
			welcome(c)
			var unacked []frame.Frame
			for {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				f, err := get(ctx, c)
				cancel()
				if err != nil {
					most = max(most, len(unacked))
					return
				}
				if n > 0 {
					g.takes(c, f)
				} else if unacked = append(unacked, f); len(unacked) == 2 {
					g.takes(c, unacked[0]) // the second is never acked
				}
			}
		}
	}
	bubble(t, Options{}, prepare, func(ctx context.Context, g *gate, d *Device) {
		var want []string
		for i := range 12 {
			id, _ := d.Send(upstream(fmt.Sprint(i)))
			want = append(want, id)
		}
		connect(ctx, d, func() {
			if err := d.Idle(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the gateway has noted most
		stored, hellos, _ := g.got()
		if !slices.Equal(stored, want) || len(hellos) != 2 || most != 6 { // the acked one, and five
			t.Errorf("stored %v, want %v; %d connections, %d written before the cut", stored, want, len(hellos), most)
		}
	})
}

// What each close code means to a device. Sheet C3.
func TestCloseCodes(t *testing.T) {
	for code, c := range map[websocket.StatusCode]struct {
		over  bool
		least time.Duration
		asks  int // for credentials
	}{
		websocket.StatusGoingAway:       {false, 0, 1},
		websocket.StatusServiceRestart:  {false, 0, 1},
		websocket.StatusTryAgainLater:   {false, 0, 1},
		websocket.StatusPolicyViolation: {over: true, asks: 1},
		websocket.StatusMessageTooBig:   {over: true, asks: 1},
		frame.CloseCredential:           {false, 0, 2},
		frame.CloseForbidden:            {over: true, asks: 1},
		frame.CloseNoHello:              {over: true, asks: 1},
		frame.CloseReplaced:             {over: true, asks: 1},
		frame.CloseSlowDown:             {false, 30 * time.Second, 1},
	} {
		asked := 0
		o := Options{Credential: func(context.Context) (Credential, error) { asked++; return Credential{Token: "t"}, nil }}
		bubble(t, o, func(g *gate) {
			g.socket = func(n int, conn *websocket.Conn, hello frame.Frame) {
				if n == 0 {
					welcome(conn)
					conn.Close(code, "")
					return
				}
				welcome(conn)
				get(context.Background(), conn)
			}
		}, func(ctx context.Context, g *gate, d *Device) {
			err := connect(ctx, d, func() { time.Sleep(2 * time.Minute) })
			_, hellos, at := g.got()
			switch {
			case c.over && (err == nil || len(hellos) != 1):
				t.Errorf("%d: %v after %d connections, want an end", code, err, len(hellos))
			case !c.over && (err != nil || len(hellos) < 2 || at[1].Sub(at[0]) < c.least):
				t.Errorf("%d: %v, %d connections at %v", code, err, len(hellos), at)
			case asked != c.asks:
				t.Errorf("%d: %d credentials, want %d", code, asked, c.asks)
			}
		})
	}
}

// A downstream that comes twice reaches the app once and is acked twice; the next hello
// names it. A temporary nack makes the device connect again, later. Sheet C3.
func TestSocketDownstreams(t *testing.T) {
	var app []string
	o := Options{OnMessage: func(p Push) { app = append(app, p.ID) }}
	acks := []string{}
	prepare := func(g *gate) {
		g.socket = func(n int, c *websocket.Conn, hello frame.Frame) {
			welcome(c)
			for _, id := range []string{"d1", "d2", "d1"} {
				put(c, frame.Frame{Type: frame.TypeDownstream, MessageID: id})
			}
			put(c, frame.Frame{Type: "tomorrow"})
			put(c, frame.Frame{Type: frame.TypePing})
			for {
				f, err := get(context.Background(), c)
				switch {
				case err != nil:
					return
				case f.Type == frame.TypeAck && n == 0:
					acks = append(acks, f.MessageID)
				case f.Type == frame.TypePong && n == 0:
					acks = append(acks, "pong")
				case f.Type == frame.TypeUpstream && n == 0:
					put(c, frame.Frame{Type: frame.TypeNack, MessageID: f.MessageID, Error: "NO_ROOM", Temporary: true, RetryAfter: 30})
				default:
					g.takes(c, f)
				}
			}
		}
	}
	bubble(t, o, prepare, func(ctx context.Context, g *gate, d *Device) {
		connect(ctx, d, func() {
			time.Sleep(time.Second)
			d.Send(upstream("x"))
			d.Receipt("d1", "OPENED")
			if err := d.Idle(ctx); err != nil {
				t.Error(err)
			}
		})
		_, hellos, at := g.got()
		if !slices.Equal(app, []string{"d1", "d2"}) || d.Counts().Repeats < 1 {
			t.Errorf("the app got %v; %+v", app, d.Counts())
		}
		slices.Sort(acks)
		if !slices.Equal(acks, []string{"d1", "d1", "d2", "pong"}) {
			t.Errorf("the gateway got %v", acks)
		}
		if len(hellos) != 2 || !slices.Equal(hellos[1].Received, []string{"d1", "d2"}) || at[1].Sub(at[0]) < 31*time.Second {
			t.Errorf("%+v at %v", hellos, at)
		}
		if !slices.Equal(g.receipts, []string{"d1 OPENED"}) {
			t.Error(g.receipts)
		}
	})
}

// A link that is silent for longer than the ping is dead. A gateway that drains gets no
// new upstream. A credential that ends is replaced on the socket.
func TestSocketLife(t *testing.T) {
	late := 0
	start := time.Time{}
	o := Options{Credential: func(context.Context) (Credential, error) {
		return Credential{Token: "t", Until: time.Now().Add(20 * time.Minute)}, nil
	}}
	prepare := func(g *gate) {
		g.socket = func(n int, c *websocket.Conn, hello frame.Frame) {
			welcome(c)
			switch n {
			case 0: // silence
				get(context.Background(), c)
				return
			case 1:
				put(c, frame.Frame{Type: frame.TypeDrain, RetryAfter: 5})
				if f, err := get(context.Background(), c); err == nil {
					late++
					t.Errorf("after drain: %+v", f)
				}
				return
			}
			for {
				ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
				f, err := get(ctx, c)
				cancel()
				if err != nil {
					return
				}
				if f.Type == frame.TypeHello {
					late = int(time.Since(start).Minutes())
					return
				}
				g.takes(c, f)
			}
		}
	}
	bubble(t, o, prepare, func(ctx context.Context, g *gate, d *Device) {
		start = time.Now()
		connect(ctx, d, func() {
			time.Sleep(34 * time.Second)
			if _, hellos, _ := g.got(); len(hellos) != 1 {
				t.Errorf("%d connections before the silence was 35 s", len(hellos))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if _, hellos, _ := g.got(); len(hellos) < 3 {
				t.Errorf("%d connections after silence and drain", len(hellos))
			}
		})
	})
}

// Whatever is cut, doubled or slow: each upstream is stored, in order where the device does
// not reorder, and each downstream reaches the app once. P1, P6.
func TestFaultsLoseNothing(t *testing.T) {
	for seed := range 20 {
		o := Options{Faults: Faults{
			Double: 0.2, NoAck: 0.1, Cut: Range[int]{200, 3000}, Slow: Range[time.Duration]{0, time.Second},
		}}
		if seed%2 == 1 {
			o.Faults.Reorder = 0.3
		}
		bubble(t, o, nil, func(ctx context.Context, g *gate, d *Device) {
			for range seed {
				d.rnd.Uint64() // another course of events for each seed
			}
			var want []string
			for i := range 40 {
				way := d.Connect
				if i%2 == 1 {
					way = d.Upload
				}
				id, err := d.Send(upstream(fmt.Sprint(i)))
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, id)
				if i%5 == 4 {
					inner, cancel := context.WithCancel(ctx)
					var run sync.WaitGroup
					run.Go(func() { way(inner) })
					if err := d.Idle(ctx); err != nil {
						t.Error(err)
					}
					cancel()
					run.Wait()
				}
			}
			stored, _, _ := g.got()
			if o.Faults.Reorder > 0 {
				slices.Sort(stored)
				slices.Sort(want)
			}
			if !slices.Equal(stored, want) {
				t.Errorf("seed %d: stored %v, want %v", seed, stored, want)
			}
			if c := d.Counts(); c.Sent != 40 || c.Cuts == 0 {
				t.Errorf("seed %d: %+v", seed, c)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, url := range []string{"", "gateway:8443", "ftp://gateway", "https://gateway/v1", "https://gateway?x"} {
		if _, err := New(Options{URL: url}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	if _, err := New(Options{URL: "https://gateway/", Queue: -1}); err == nil {
		t.Error("a negative queue is taken")
	}
	if err := (&SendError{TooBig, "x"}); !errors.As(error(err), new(*SendError)) || err.Error() != "ERROR_SIZE: x" {
		t.Error(err)
	}
}
