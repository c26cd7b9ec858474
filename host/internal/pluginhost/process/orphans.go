package process

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// children are the processes that this host has started and not awaited yet. All
// that are started are added on the spawner's thread, in the same turn.
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

// foster awaits what plugins have left behind, until over is called, if that falls
// to this process when its parent ends: it is the first one of a container, or it
// was made a subreaper. Nobody else would, and zombies fill the table of processes.
//
// It needs no process between the container and the host, which would have to pass
// on signals and exits: all that the host starts comes from the spawner's thread,
// so there a look at what has ended knows what is os/exec's to await. A child
// that it awaits can hide others that ended after it; its end is a hint, too.
func (h *Parent) foster() (over func()) {
	if !inherits() {
		return func() {}
	}
	_, _ = os.FindProcess(os.Getpid()) // os tries out pidfds with a child, once: it is over after this
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
