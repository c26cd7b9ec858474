package ccs

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"
)

// Whatever a session waits for before it connects again, status says until when,
// and Hurry ends it: after a refused login, and after connections that were lost.
func TestHurry(t *testing.T) { // P10
	for name, c := range map[string]struct {
		change func(*Options)
		before func(*world)
	}{
		"refused login": {func(o *Options) { o.Key = "wrong" }, func(w *world) { time.Sleep(3 * time.Minute) }},
		"lost": {func(o *Options) { o.Backoff.Min, o.Backoff.Max = 10*time.Minute, 10*time.Minute }, func(w *world) {
			time.Sleep(time.Second)
			w.srv.Cut()
		}},
		"nobody there": {func(o *Options) { o.Backoff.Min, o.Backoff.Max = time.Second, 10*time.Minute; o.Dial = refuse }, func(w *world) {
			time.Sleep(30 * time.Minute)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries atomic.Int64
				w := start(t, ccssim.Options{}, func(o *Options) {
					c.change(o)
					dial := o.Dial
					o.Dial = func(ctx context.Context, at string) (net.Conn, error) {
						tries.Add(1)
						return dial(ctx, at)
					}
				})
				defer w.finish()
				c.before(w)
				synctest.Wait()
				st := w.s.Status()
				if len(st.Connections) != 1 || st.Connections[0].State != Waiting {
					t.Fatalf("it does not wait: %+v", st)
				}
				next := st.Connections[0].NextTry
				if wait := time.Until(next); wait < 5*time.Second || wait > time.Hour {
					t.Fatalf("status says that the next try is in %v", wait)
				}
				before := tries.Load()
				time.Sleep(time.Until(next) - time.Millisecond)
				synctest.Wait()
				if tries.Load() != before {
					t.Error("it was tried before")
				}
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				if tries.Load() != before+1 {
					t.Errorf("it was not tried then: %d tries", tries.Load()-before)
				}
				time.Sleep(time.Second)
				if name == "lost" {
					w.srv.Cut()
					synctest.Wait()
				}
				if before = tries.Load(); !w.s.Hurry() {
					t.Error("nobody waited")
				}
				synctest.Wait()
				if tries.Load() != before+1 {
					t.Error("it was not tried at once")
				}
			})
		})
	}
}

func refuse(context.Context, string) (net.Conn, error) { return nil, errors.New("connection refused") }
