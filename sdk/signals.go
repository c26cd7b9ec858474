package sdk

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	hclog "github.com/hashicorp/go-hclog"
)

// phase is where a plugin's process is in its life with the host.
type phase = int32

const (
	starting phase = iota // no session yet
	serving
	over // its session has ended
)

// outlive has the process go on at signals that are not meant for it, until ended
// is called: a service manager sends SIGTERM to every process of a unit, a
// terminal SIGINT and SIGHUP to every one of a group. The host gets them too, and
// then drains the plugin, so that its handlers finish. Once the session has ended,
// or the host has before there was one, a signal ends the process: by leave, which
// doesn't return. No warning tells of it: the host has asked for that, or is gone,
// and then nobody reads it.
func outlive(log hclog.Logger, now *atomic.Int32, leave func()) (ended func()) {
	came, done, parent := make(chan os.Signal, 1), make(chan struct{}), os.Getppid()
	signal.Notify(came, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // not Ignore, which what the plugin starts would inherit
	go func() {                                                          //house:go ends with ended
		for {
			select {
			case s := <-came:
				if now.Load() == over || now.Load() == starting && os.Getppid() != parent {
					log.Debug("signal, and there is no session: exiting", "state", s.String())
					leave()
				}
				log.Debug("signal ignored: the host says when to stop", "state", s.String())
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(came); close(done) }
}
