package process

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// children are the processes that this host has started and not awaited yet. A process
// is added on the spawner's thread, in the same call that starts it.
type children struct {
	mu   sync.Mutex // guards pids
	pids map[int]bool
	hint chan struct{} // one was awaited; capacity 1
}

func newChildren() *children {
	return &children{pids: map[int]bool{}, hint: make(chan struct{}, 1)}
}

func (c *children) started(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pids[pid] = true
}

func (c *children) awaited(pid int) {
	c.mu.Lock()
	delete(c.pids, pid)
	c.mu.Unlock()
	select {
	case c.hint <- struct{}{}:
	default:
	}
}

func (c *children) has(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pids[pid]
}

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
			_ = h.spawner.start(func() error { reapOrphans(h.children.has); return nil })
			select {
			case <-ended:
			case <-h.children.hint:
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
