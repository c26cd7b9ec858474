package ccs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/xmpp"
)

// What does not let a successor in: the session before it goes on, on the
// connection that it has, unless that holds the only place there is.
func TestRefusedSuccessor(t *testing.T) { // P10
	for name, c := range map[string]func(*Options){
		"wrong key":       func(o *Options) { o.Key = "wrong" },
		"nobody there":    func(o *Options) { o.Dial = refuse },
		"silent":          func(o *Options) { o.Dial = hangs },
		"another, no key": func(o *Options) { o.SenderID, o.Key = "2", "wrong" },
	} {
		for _, places := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, max_connections %d", name, places), func(t *testing.T) {
				var live, most atomic.Int64
				counted := func(o *Options) { o.MaxConnections = places; o.Dial = counting(o.Dial, &live, &most) }
				simulate(t, ccssim.Options{Connections: places, Senders: map[string]string{"2": "two"}}, counted, func(w *world) {
					next := successor(w, c)
					began := time.Now()
					ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
					defer cancel()
					err := next.Open(ctx, w.s)
					if took := time.Since(began); err == nil || took > 21*time.Second {
						t.Fatalf("%v after %v", err, took)
					}
					if wrong := strings.HasSuffix(name, "key"); wrong && (!errors.As(err, new(*xmpp.AuthError)) || !strings.Contains(err.Error(), "check sender_id and server_key")) {
						t.Errorf("it says %v", err)
					}
					w.srv.Upstream("tokA", "com.example.echo", map[string]string{"a": "b"})
					w.outbox.send(1, 10, "tokA")
					w.until("messages", func(c ccssim.Counts) bool { return c.Acked == 1 && c.AckedDown == 10 })
					if again := places == 1 && !strings.HasPrefix(name, "another"); w.srv.Counts().Logins != 1 && !again {
						t.Error("the connection that served has been replaced")
					}
					if places == 1 && !strings.HasPrefix(name, "another") && most.Load() > 1 {
						t.Errorf("%d connections at a time", most.Load())
					}
					w.legal()
				})
			})
		}
	}
}

// A successor that is let in has one login, and no message before the one before
// it has ended.
func TestSuccessor(t *testing.T) { // P1, P3, P5
	for _, places := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("max_connections %d", places), func(t *testing.T) {
			simulate(t, ccssim.Options{Connections: places, AckDelay: ccssim.Range{Min: time.Second, Max: time.Second}}, func(o *Options) { o.MaxConnections = places }, func(w *world) {
				next := successor(w, func(*Options) {})
				w.outbox.send(1, 300, "tokA")
				if err := next.Open(w.t.Context(), w.s); err != nil {
					t.Fatal(err)
				}
				for range 20 {
					w.srv.Upstream("tokA", "com.example.echo", map[string]string{"a": "b"})
				}
				w.stop()
				if err := <-w.ended; err != nil {
					t.Fatal(err)
				}
				logins := w.srv.Counts().Logins
				var ctx context.Context
				ctx, w.stop = context.WithCancel(w.t.Context())
				w.s = next
				go func() { w.ended <- next.Run(ctx) }()
				w.until("messages", func(c ccssim.Counts) bool { return c.Acked == 20 && c.AckedDown == 300 })
				if n := w.srv.Counts().Logins; n != logins {
					t.Errorf("%d logins more: Open's connection was not used", n-logins)
				}
				w.legal()
			})
		})
	}
}

// What was opened and is not run is closed, and its place given back.
func TestSuccessorNotRun(t *testing.T) {
	var live, most atomic.Int64
	simulate(t, ccssim.Options{}, func(o *Options) { o.MaxConnections = 2; o.Dial = counting(o.Dial, &live, &most) }, func(w *world) {
		for range 5 {
			next := successor(w, func(*Options) {})
			if err := next.Open(w.t.Context(), w.s); err != nil {
				t.Fatal(err)
			}
			if live.Load() != 2 {
				t.Fatalf("%d connections", live.Load())
			}
			next.Close()
			synctest.Wait()
			if live.Load() != 1 || w.srv.Counts().Drained > 0 {
				t.Fatalf("%d connections, %+v", live.Load(), w.srv.Counts())
			}
		}
	})
}

// successor is a session with other options than the world's.
func successor(w *world, change func(*Options)) *Session {
	o := w.s.o
	change(&o)
	return New(o)
}

func hangs(ctx context.Context, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// counting counts the connections that are open at a time.
func counting(dial func(context.Context, string) (net.Conn, error), live, most *atomic.Int64) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, at string) (net.Conn, error) {
		nc, err := dial(ctx, at)
		if err != nil {
			return nil, err
		}
		most.Store(max(most.Load(), live.Add(1)))
		return &counted{Conn: nc, live: live}, nil
	}
}

type counted struct {
	net.Conn
	live *atomic.Int64
	over atomic.Bool
}

func (c *counted) Close() error {
	if !c.over.Swap(true) {
		c.live.Add(-1)
	}
	return c.Conn.Close()
}
