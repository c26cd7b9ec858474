package sdk

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	hclog "github.com/hashicorp/go-hclog"
)

// phase says whether the host is connected to this process.
type phase = int32

const (
	starting phase = iota // not yet
	serving               // the host is connected
	over                  // the connection has ended
)

// outlive makes the process ignore signals that are meant for the host, until ended
// is called. A service manager sends SIGTERM to all processes of a unit, and a
// terminal sends SIGINT and SIGHUP to all processes of a group. The host gets the
// signal too and drains the plugin, so that its handlers finish.
//
// A signal ends the process if the connection to the host has ended, or if the host
// died before it connected. For this outlive calls leave, which does not return. It
// logs this at debug only, because the host asked for it, or nobody reads the log.
func outlive(log hclog.Logger, now *atomic.Int32, leave func()) (ended func()) {
	came, done, parent := make(chan os.Signal, 1), make(chan struct{}), os.Getppid()
	signal.Notify(came, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // not signal.Ignore: the plugin's child processes would inherit that
	go func() {                                                          //house:go ends with ended
		for {
			select {
			case s := <-came:
				if now.Load() == over || now.Load() == starting && os.Getppid() != parent {
					log.Debug("signal without a connection to the host: exiting", "state", s.String())
					leave()
				}
				log.Debug("signal ignored: the host decides when to stop", "state", s.String())
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(came); close(done) }
}
