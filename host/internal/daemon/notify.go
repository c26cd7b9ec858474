package daemon

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// supervisor is systemd, or a program that speaks its protocol (sd_notify(3)). Without
// one each call does nothing. Its watchdog notices what no goroutine can: a process
// that hangs as a whole.
type supervisor struct {
	notify func(state string) (sent bool, err error)
	log    hclog.Logger
}

func newSupervisor(log hclog.Logger) *supervisor {
	return &supervisor{
		notify: func(state string) (bool, error) { return daemon.SdNotify(false, state) },
		log:    log,
	}
}

func (s *supervisor) say(state string) {
	if _, err := s.notify(state); err != nil {
		s.log.Warn("tell systemd", "state", state, "err", err)
	}
}

// Run tells the supervisor that the host serves, that it lives (as long as live returns
// nil), and that it stops when ctx ends.
func (s *supervisor) run(ctx context.Context, live func() error) error {
	s.say(daemon.SdNotifyReady)
	defer s.say(daemon.SdNotifyStopping)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("no watchdog", "err", err)
	}
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	return s.watchdog(ctx, every, live)
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
