package daemon

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

// supervisor is systemd, or a program that speaks its protocol (sd_notify(3)). Without
// one each call does nothing. Its watchdog notices what no goroutine can: a process
// that hangs as a whole.
type supervisor struct {
	notify  func(state string) (sent bool, err error)
	listens func() bool // there is one
	log     hclog.Logger
}

func newSupervisor(log hclog.Logger) *supervisor {
	return &supervisor{
		notify:  func(state string) (bool, error) { return daemon.SdNotify(false, state) },
		listens: func() bool { return os.Getenv("NOTIFY_SOCKET") != "" },
		log:     log,
	}
}

func (s *supervisor) say(state string) {
	if _, err := s.notify(state); err != nil {
		s.log.Warn("tell systemd", "state", state, "err", err)
	}
}

// run tells the supervisor that the host serves, what its health is, that it lives (as
// long as live returns nil), and that it stops when ctx ends.
func (s *supervisor) run(ctx context.Context, live func() error, health func() string) error {
	s.say(daemon.SdNotifyReady)
	defer s.say(daemon.SdNotifyStopping)
	if !s.listens() {
		<-ctx.Done()
		return nil
	}
	var work errgroup.Group
	work.Go(func() error { s.status(ctx, health); return nil })
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("no watchdog", "err", err)
	}
	if every > 0 {
		work.Go(func() error { return s.watchdog(ctx, every, live) })
	}
	return work.Wait()
}

// reloading tells that a reload runs, and at its end that it is over: "systemctl reload"
// waits for that (notify-reload of systemd.service(5)).
func (s *supervisor) reloading() (over func()) {
	s.say(daemon.SdNotifyReloading + monotonic())
	return func() { s.say(daemon.SdNotifyReady) }
}

// statusEvery is how often the health is told, if it has changed.
const statusEvery = 5 * time.Second

// status tells the health, which "systemctl status" shows in one line.
func (s *supervisor) status(ctx context.Context, health func() string) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for said := ""; ; {
		if now := health(); now != said {
			said = now
			s.say("STATUS=" + strings.ReplaceAll(now, "\n", " "))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// health is the host's readiness in one line.
func (h *host) health() string {
	reasons, warnings := h.ready()
	switch {
	case len(reasons) > 0:
		return "not ready: " + strings.Join(reasons, "; ")
	case len(warnings) > 0:
		return "ready; " + strings.Join(warnings, "; ")
	}
	return "ready"
}

// watchdog tells the supervisor twice in each period that the host lives.
func (s *supervisor) watchdog(ctx context.Context, every time.Duration, live func() error) error {
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		if err := live(); err != nil {
			s.log.Error("the host is stuck and needs a restart: systemd's watchdog gets no sign of life", "err", err)
		} else {
			s.say(daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
