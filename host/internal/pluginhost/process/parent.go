package process

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

// Parent starts the processes of all plugins of a host.
type Parent struct {
	spawner  spawner
	thread   errgroup.Group // the spawner's
	children *children
	kin      kin // all processes of this host
	sockets  string
	started  atomic.Int64 // processes
	unfoster func()
}

// Open makes the parent of the processes on a data folder. Only one host runs on a data
// folder, so what a killed host has left there is ended first.
func Open(dataDir string, log hclog.Logger) (*Parent, error) {
	h := &Parent{spawner: make(spawner), children: newChildren(), sockets: SocketRoot(dataDir)}
	var err error
	if h.kin, err = allOf(dataDir); err != nil {
		return nil, err
	}
	switch killed, left := h.kin.end(kinTime); { // P5: what a killed host left may still handle what is given out again
	case left:
		log.Error("processes of plugins that the last host left can't be ended")
	case killed > 0:
		log.Warn(fmt.Sprintf("%d processes of plugins were left by the last host: killed", killed))
	}
	if err := errors.Join(openSockets(h.sockets), sweepSockets(h.sockets)); err != nil {
		return nil, err
	}
	h.thread.Go(h.spawner.run)
	h.unfoster = h.foster()
	return h, nil
}

// Close is for when all processes have ended.
func (h *Parent) Close() {
	h.unfoster()
	close(h.spawner)
	_ = h.thread.Wait()  // it returns nil
	os.Remove(h.sockets) // fails if something is left: that was logged, or is a person's
}
