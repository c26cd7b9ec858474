package hosttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"balhost/host/internal/pluginhost"

	"golang.org/x/sync/errgroup"
)

// runPlugins stands for pluginhost.Host.Run: it keeps each plugin running until
// ctx ends, then ends all processes in order.
func (h *Host) runPlugins(ctx context.Context, options func(name string) pluginhost.PluginOptions) error {
	var first []*Process
	for _, pl := range h.o.Plugins {
		h.reload[pl.Name] = make(chan struct{}, 1)
		p, err := h.spawn(pl, options(pl.Name), false)
		if err != nil {
			return err
		}
		first = append(first, p)
	}
	h.to.Booted()
	close(h.up)
	var kept errgroup.Group
	for _, p := range first {
		kept.Go(func() error { return h.keep(ctx, p) })
	}
	err := kept.Wait()
	h.mu.Lock()
	h.stopping = true
	left := slices.Collect(maps.Keys(h.processes)) // second ones
	h.mu.Unlock()
	for _, p := range left {
		h.retire(p)
	}
	err = errors.Join(err, h.aside.Wait())
	select {
	case <-h.dead:
		<-h.copied // the ledger closes after this
	default:
	}
	return err
}

// keep keeps a plugin running: restarts it when it exits, and replaces it
// when Reload says so.
func (h *Host) keep(ctx context.Context, p *Process) error {
	for old := (*Process)(nil); ; {
		h.serve(p)
		if old != nil {
			h.retire(old)
			old = nil
		}
		select {
		case <-p.closed:
			p.await()
			if !pause(ctx, max(p.Plugin.Restart, 100*time.Millisecond)) {
				return nil
			}
		case <-h.reload[p.Plugin.Name]: // P9: the new one takes over, then the old one goes
			old = p
		case <-ctx.Done():
			h.retire(p)
			return nil
		}
		next, err := h.spawn(p.Plugin, p.options, false)
		if err != nil {
			return err
		}
		p = next
	}
}

func (h *Host) serve(p *Process) {
	p.in.Ready()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serving[p.Plugin.Name] = p
}

// retire ends a process in order, or else kills it, and waits for its exit. One
// that lives has said drained when it may go.
func (h *Host) retire(p *Process) {
	ctx, cancel := context.WithTimeout(context.Background(), p.options.DrainTimeout)
	defer cancel()
	if err := p.in.Drain(ctx); err == nil && p.Alive() && !p.hasDrained() {
		h.kill(fmt.Errorf("plugin %s: its process was to end before it had finished what it held", p.Plugin.Name))
	}
	p.Die("stopped")
	p.await()
}

// goAside runs f beside the parts, unless the host ends already.
func (h *Host) goAside(f func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && !h.stopping {
		h.aside.Go(f)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Serving is the process of a plugin that takes events; nil when there is none.
func (h *Host) Serving(plugin string) *Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.serving[plugin]; p != nil && p.Alive() {
		return p
	}
	return nil
}

// Reload replaces a plugin's process by a new one that takes over from it.
func (h *Host) Reload(plugin string) {
	select {
	case h.reload[plugin] <- struct{}{}:
	default:
	}
}
