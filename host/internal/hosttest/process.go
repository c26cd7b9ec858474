package hosttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"balhost/host/internal/instance"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/wire"

	"golang.org/x/sync/errgroup"
)

// Process is one life of a plugin. It ends once: by Die, because dispatch kills
// it, or with its host.
type Process struct {
	Plugin  *Plugin
	host    *Host
	options pluginhost.PluginOptions
	in      instance.Dispatch
	closed  chan struct{} // its session has ended
	ctx     context.Context
	end     context.CancelFunc
	dying   sync.Once
	work    errgroup.Group // handlers, and what waits for them

	// life is held for reading while a frame goes to dispatch, and by the exit.
	life sync.RWMutex
	dead bool

	mu       sync.Mutex // guards what follows
	revoke   map[uint64]context.CancelFunc
	calls    map[uint64]chan *wire.Reply
	lastCall uint64
	draining bool
	drained  bool
}

// ErrExited is the error of a call by a process that has exited.
var ErrExited = errors.New("the process has exited")

// spawn makes a process and has it described to dispatch.
func (h *Host) spawn(pl *Plugin, options pluginhost.PluginOptions, trier bool) (*Process, error) {
	p := &Process{
		Plugin: pl, host: h, options: options, closed: make(chan struct{}),
		revoke: map[uint64]context.CancelFunc{}, calls: map[uint64]chan *wire.Reply{},
	}
	facts, err := pluginhost.Facts(options, pl.manifest())
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", pl.Name, err)
	}
	facts.Closed, facts.Trier = p.closed, trier
	p.ctx, p.end = context.WithCancel(context.Background())
	h.mu.Lock()
	h.processes[p] = true
	dead := h.err != nil
	h.mu.Unlock()
	if dead {
		p.exit()
	}
	p.in = h.to.Described(facts, p)
	return p, nil
}

// Host is the host that the process belongs to.
func (p *Process) Host() *Host { return p.host }

// Alive reports whether the process may still do anything.
func (p *Process) Alive() bool { return p.ctx.Err() == nil }

// Send is instance.Process's: a frame from the host.
func (p *Process) Send(f *wire.HostFrame) {
	if len(f.GetDeliver()) > 0 || f.GetDrain() != nil { // never within a call of frame's
		p.life.RLock()
		defer p.life.RUnlock()
		if p.dead {
			return
		}
	}
	for _, d := range f.GetDeliver() {
		p.deliver(d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, number := range f.GetRevoke() {
		if cancel := p.revoke[number]; cancel != nil {
			cancel()
		}
	}
	for _, r := range f.GetReply() {
		if c := p.calls[r.GetId()]; c != nil {
			delete(p.calls, r.GetId())
			c <- r
		}
	}
	if f.GetDrain() != nil {
		p.draining = true
		p.finished()
	}
}

func (p *Process) deliver(d *wire.Delivery) {
	if p.Plugin.Delivered != nil {
		p.Plugin.Delivered(p, d)
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.mu.Lock()
	p.revoke[d.GetDelivery()] = cancel
	p.mu.Unlock()
	p.work.Go(func() error {
		defer cancel()
		r := p.Plugin.Handle(ctx, p, d)
		if r == nil {
			return nil
		}
		r.Delivery = d.GetDelivery()
		p.frame(&wire.PluginFrame{Result: []*wire.Result{r}}, func() {
			if p.Plugin.Answered != nil {
				p.Plugin.Answered(p, r)
			}
		})
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.revoke, r.GetDelivery())
		p.finished()
		return nil
	})
}

// finished says drained once nothing is held. p.mu is held.
func (p *Process) finished() {
	if p.draining && !p.drained && len(p.revoke) == 0 {
		p.drained = true
		p.work.Go(func() error { return p.frame(&wire.PluginFrame{Drained: true}, nil) })
	}
}

// frame sends f to the host, if the process still can; before is called first.
func (p *Process) frame(f *wire.PluginFrame, before func()) error {
	p.life.RLock()
	defer p.life.RUnlock()
	if p.dead {
		return nil
	}
	if before != nil {
		before()
	}
	p.in.Frame(f)
	return nil
}

// Call makes a call to the host and waits for its reply.
func (p *Process) Call(c *wire.Call) (*wire.Reply, error) {
	answer := make(chan *wire.Reply, 1)
	p.mu.Lock()
	p.lastCall++
	c.Id = p.lastCall
	p.calls[c.Id] = answer
	p.mu.Unlock()
	p.frame(&wire.PluginFrame{Call: []*wire.Call{c}}, nil)
	select {
	case r := <-answer:
		return r, nil
	case <-p.ctx.Done():
		return nil, ErrExited
	}
}

// Get reads a key of the plugin's state, for the handler of a delivery, or with 0
// for none; version 0: there is no such key.
func (p *Process) Get(delivery uint64, key string) (value []byte, version uint64, err error) {
	r, err := p.Call(&wire.Call{Op: &wire.Call_Get{Get: key}, Delivery: delivery})
	if err == nil && r.GetCode() != wire.Reply_OK {
		err = fmt.Errorf("get %s: %s", key, r.GetError())
	}
	return r.GetValue(), r.GetVersion(), err
}

// List is all of the plugin's state under a prefix, and what to commit of having seen it.
func (p *Process) List(delivery uint64, prefix string) ([]*wire.Item, *wire.Range, error) {
	ask := &wire.List{Prefix: prefix}
	r, err := p.Call(&wire.Call{Op: &wire.Call_List{List: ask}, Delivery: delivery})
	if err == nil && r.GetCode() != wire.Reply_OK {
		err = fmt.Errorf("list %s: %s", prefix, r.GetError())
	}
	return r.GetList().GetItem(), ask.Range(r.GetList()), err
}

// Kill is instance.Process's: the process exits, in its time. It returns at once.
func (p *Process) Kill(reason string) { p.Die(reason) }

// Die makes the process exit; Plugin.Exiting says when.
func (p *Process) Die(reason string) {
	p.dying.Do(func() {
		var takes time.Duration
		if p.Plugin.Exiting != nil {
			takes = p.Plugin.Exiting(p)
		}
		if takes <= 0 {
			takes = 1 // Gone must not come from within a call of dispatch's
		}
		time.AfterFunc(takes, func() { //house:go await waits for the exit
			if p.exit() {
				p.in.Gone(reason)
			}
		})
	})
}

// exit ends the process at this moment: no frame of it comes any more. False
// when it has ended before.
func (p *Process) exit() bool {
	p.life.Lock()
	first := !p.dead
	p.dead = true
	p.life.Unlock()
	if !first {
		return false
	}
	if p.Plugin.Exited != nil {
		p.Plugin.Exited(p)
	}
	p.end()
	close(p.closed)
	p.host.mu.Lock()
	delete(p.host.processes, p)
	p.host.mu.Unlock()
	return true
}

// await returns when the process has exited and its handlers have ended.
func (p *Process) await() {
	<-p.closed
	p.work.Wait() //nolint:errcheck // they return nil
}

// StartTrier is instance.Process's: another process of the plugin, for suspects.
func (p *Process) StartTrier() {
	p.host.goAside(func() error {
		second, err := p.host.spawn(p.Plugin, p.options, true)
		if err != nil {
			return err
		}
		second.in.Ready()
		second.await()
		return nil
	})
}

// Retire is instance.Process's: this process ends in order.
func (p *Process) Retire() {
	p.host.goAside(func() error { p.host.retire(p); return nil })
}

// hasDrained reports whether it has said so.
func (p *Process) hasDrained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drained
}
