package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

// Parent starts the processes of all plugins of a host.
type Parent struct {
	// do are functions to run on one thread, which outlives every process that was
	// started from it: Linux sends a process its death signal when the *thread* that
	// forked it ends (golang/go#27505).
	do       chan func()
	thread   errgroup.Group // runs them
	children sync.Map       // those that were not awaited yet, by number; added on the thread, in the same call that starts them
	gone     chan struct{}  // one was awaited; capacity 1
	kin      kin            // all processes of this host
	sockets  string
	started  atomic.Int64 // processes
	unfoster func()
}

// Open makes the parent of the processes on a data folder. Only one host runs on a data
// folder, so what a killed host has left there is ended first.
func Open(dataDir string, log hclog.Logger) (*Parent, error) {
	h := &Parent{do: make(chan func()), gone: make(chan struct{}, 1), sockets: SocketRoot(dataDir)}
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
	h.thread.Go(func() error {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		for f := range h.do {
			f()
		}
		return nil
	})
	h.unfoster = h.foster()
	return h, nil
}

// Close is for when all processes have ended.
func (h *Parent) Close() {
	h.unfoster()
	close(h.do)
	_ = h.thread.Wait()  // it returns nil
	os.Remove(h.sockets) // fails if something is left: that was logged, or is a person's
}

// onThread runs f on the thread that starts processes.
func (h *Parent) onThread(f func()) {
	done := make(chan struct{})
	h.do <- func() { f(); close(done) }
	<-done
}

func (h *Parent) startChild(cmd *exec.Cmd) (err error) {
	h.onThread(func() {
		if err = cmd.Start(); err == nil {
			h.children.Store(cmd.Process.Pid, true)
		}
	})
	return err
}

func (h *Parent) isChild(pid int) bool {
	_, is := h.children.Load(pid)
	return is
}

func (h *Parent) awaited(pid int) {
	h.children.Delete(pid)
	select {
	case h.gone <- struct{}{}:
	default:
	}
}
