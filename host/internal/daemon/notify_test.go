package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/config"
)

// TestWatchdog: the supervisor hears that the host lives while it does, and not
// while only a restart helps.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan string, 10)
		s := &supervisor{log: hclog.NewNullLogger(), notify: func(state string) (bool, error) {
			said <- state
			return true, nil
		}}
		var stuck atomic.Bool
		live := func() error {
			if stuck.Load() {
				return errors.New("dispatch does not answer")
			}
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.watchdog(ctx, 10*time.Second, live) }()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if len(said) != 3 {
			t.Errorf("said %d times that it lives, not 3", len(said))
		}
		for len(said) > 0 {
			if state := <-said; state != "WATCHDOG=1" {
				t.Errorf("said %q while alive", state)
			}
		}
		stuck.Store(true)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if len(said) > 0 {
			t.Errorf("said %q while stuck", <-said)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestSupervisorHearsTheLife: ready when it serves, its health when that changes, a reload
// from its beginning to its end, and stopping at the end.
func TestSupervisorHearsTheLife(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	synctest.Test(t, func(t *testing.T) {
		said := make(chan string, 10)
		s := &supervisor{log: hclog.NewNullLogger(), listens: func() bool { return true }, notify: func(state string) (bool, error) {
			said <- state
			return true, nil
		}}
		hear := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := <-said; !strings.HasPrefix(got, want) {
				t.Errorf("said %q, want %q", got, want)
			}
		}
		var health atomic.Value
		health.Store("not ready: no\nconnection")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.run(ctx, func() error { return nil }, func() string { return health.Load().(string) })
		}()
		hear("READY=1")
		hear("STATUS=not ready: no connection")
		time.Sleep(3 * statusEvery)
		health.Store("ready")
		time.Sleep(statusEvery)
		hear("STATUS=ready")
		over := s.reloading()
		hear("RELOADING=1")
		over()
		hear("READY=1")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		hear("STOPPING=1")
		if len(said) > 0 {
			t.Errorf("said %q too", <-said)
		}
	})
}

// An end that was asked for is no failure, also while the ledger opens.
func TestStopWhileItOpens(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Run(ctx, config.Config{DataDir: t.TempDir()}, Options{Log: hclog.NewNullLogger()}); err != nil {
		t.Error(err)
	}
}
