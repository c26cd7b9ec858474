package process

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// foster awaits the processes that plugins have left behind, until over is called. It
// does so only where they become this process's children: in a container of which the
// host is the first process, or when the host is a subreaper. Nobody else would await
// them, and zombies fill the table of processes.
//
// os/exec awaits the host's own children, so foster must not. It can tell them apart,
// since all are started on the spawner's thread, where it looks for what has ended. An
// own child that has ended hides the orphans that ended after it. So foster looks again
// when a child was awaited.
func (h *Parent) foster() (over func()) {
	if !inherits() {
		return func() {}
	}
	_, _ = os.FindProcess(os.Getpid()) // the first call tries out pidfds with a child; that child is gone after it
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	var g errgroup.Group
	g.Go(func() error {
		for {
			h.onThread(func() { reapOrphans(h.isChild) })
			select {
			case <-ended:
			case <-h.gone:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return func() {
		signal.Stop(ended)
		cancel()
		_ = g.Wait() // it returns nil
	}
}
