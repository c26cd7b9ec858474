// Package hangup takes SIGHUP from the daemon's first moment on: until somebody
// does, the signal ends a process. It imports next to nothing, so that Go
// initialises it before all that takes its time. Start at [C].
package hangup

import (
	"os"
	"os/signal"
	"syscall"
)

// C gets the signals of "balhost run". Other commands end by SIGHUP, as they
// should when their terminal goes.
var C = take()

func take() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	if len(os.Args) > 1 && os.Args[1] == "run" {
		signal.Notify(c, syscall.SIGHUP)
	}
	return c
}
