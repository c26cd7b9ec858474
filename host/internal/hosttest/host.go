package hosttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
)

// Options describe a host. Disk, Server and Sessions are needed.
type Options struct {
	Disk     *Disk
	Server   *ccssim.Server
	Sessions []ccs.Options // Dial, Inbox, Outbox and Log are filled in
	Plugins  []*Plugin
	Outbox   outbox.Options // Ledger and Log are filled in
	Retry    backoff.Policy // of dispatch
	Drain    time.Duration  // limit for a plugin that is to end; 2 s
	Log      hclog.Logger

	// Tap, when set, stands between the sessions and the outbox.
	Tap func(*Host, ccs.Outbox) ccs.Outbox
}

// Host is one life of a host, from Start to Stop or to a kill.
type Host struct {
	Ledger   *ledger.Ledger
	Dispatch *dispatch.Dispatcher
	Outbox   *outbox.Outbox
	Sessions []*ccs.Session
	Link     *Link

	o        Options
	stopEdge context.CancelFunc
	stopCore context.CancelFunc
	edge     errgroup.Group // sessions, and what keeps the plugins running
	core     errgroup.Group // dispatch and outbox
	plugins  errgroup.Group // second processes, and ends of processes
	dead     chan struct{}  // closed at the moment of a kill
	dying    sync.Once
	ended    sync.Once
	endErr   error

	mu        sync.Mutex // guards what follows
	err       error      // why it is dead
	stopping  bool
	processes map[*Process]bool
	serving   map[string]*Process
	reload    map[string]chan struct{}
}

// ErrKilled is why a host is dead that was told to be.
var ErrKilled = errors.New("killed")

// Start starts a host on what its disk holds.
func Start(o Options) (_ *Host, err error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Drain == 0 {
		o.Drain = 2 * time.Second
	}
	h := &Host{
		o: o, Link: &Link{server: o.Server}, dead: make(chan struct{}),
		processes: map[*Process]bool{}, serving: map[string]*Process{}, reload: map[string]chan struct{}{},
	}
	h.Ledger, err = ledger.Open(context.Background(), ledger.Options{
		Dir: o.Disk.dir(), Light: true, Statfs: o.Disk.statfs,
		Commit: func(commit func() error) error { return o.Disk.commit(h.dead, commit) },
		Poison: h.kill,
		Log:    o.Log.Named("ledger"),
	})
	if err != nil {
		return nil, err
	}
	var senders entry.Senders
	for _, s := range o.Sessions {
		senders = append(senders, entry.Sender{Name: s.Name, ID: s.SenderID})
	}
	h.Dispatch = dispatch.New(dispatch.Options{Ledger: h.Ledger, Senders: func() entry.Senders { return senders }, Retry: o.Retry, Log: o.Log.Named("dispatch")})
	o.Outbox.Ledger, o.Outbox.Log = h.Ledger, o.Log.Named("outbox")
	h.Outbox = outbox.New(o.Outbox)
	var tapped ccs.Outbox = h.Outbox
	if o.Tap != nil {
		tapped = o.Tap(h, h.Outbox)
	}
	for _, s := range o.Sessions {
		s.Dial, s.Inbox, s.Outbox, s.Log = h.Link.dial, h.Ledger, tapped, o.Log.Named("ccs").With("session", s.Name)
		h.Sessions = append(h.Sessions, ccs.New(s))
	}
	return h, h.run()
}

// run starts the parts as package daemon does.
func (h *Host) run() error {
	var edge, core context.Context
	edge, h.stopEdge = context.WithCancel(context.Background())
	core, h.stopCore = context.WithCancel(context.Background())
	h.core.Go(h.part(core, "dispatch", h.Dispatch.Run))
	h.core.Go(h.part(core, "outbox", h.Outbox.Run))
	var first []*Process
	for _, pl := range h.o.Plugins {
		p, err := h.spawn(pl, false)
		if err != nil {
			h.kill(err)
			return errors.Join(err, h.Wait())
		}
		first = append(first, p)
		h.reload[pl.Name] = make(chan struct{}, 1)
	}
	h.Dispatch.Settled()
	for _, p := range first {
		h.edge.Go(h.part(edge, "plugin "+p.Plugin.Name, func(ctx context.Context) error { return h.keep(ctx, p) }))
	}
	for i, s := range h.Sessions {
		h.edge.Go(h.part(edge, "session "+h.o.Sessions[i].Name, s.Run))
	}
	return nil
}

// part runs one part. One that ends unasked, while the host is alive, kills it.
func (h *Host) part(ctx context.Context, name string, run func(context.Context) error) func() error {
	return func() error {
		err := run(ctx)
		if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			return nil
		}
		h.kill(fmt.Errorf("%s stopped unasked: %w", name, err))
		return err
	}
}

// keep keeps a plugin running: restarts it when it exits, and replaces it
// when Reload says so.
func (h *Host) keep(ctx context.Context, p *Process) error {
	for {
		h.serve(p)
		select {
		case <-p.closed:
			p.await()
			if !pause(ctx, max(p.Plugin.Restart, 100*time.Millisecond)) {
				return nil
			}
		case <-h.reload[p.Plugin.Name]: // P9: the new one takes over, then the old one goes
			next, err := h.spawn(p.Plugin, false)
			if err != nil {
				return err
			}
			h.serve(next)
			h.retire(p)
			p = next
			continue
		case <-ctx.Done():
			h.retire(p)
			return nil
		}
		next, err := h.spawn(p.Plugin, false)
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

// retire ends a process in order, or else kills it, and waits for its exit.
func (h *Host) retire(p *Process) {
	ctx, cancel := context.WithTimeout(context.Background(), h.o.Drain)
	defer cancel()
	p.in.Drain(ctx) //nolint:errcheck // what it does not finish is killed
	p.Die("stopped")
	p.await()
}

// aside runs f beside the parts, unless the host ends already.
func (h *Host) aside(f func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil && !h.stopping {
		h.plugins.Go(f)
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

// Dead is closed at the moment the host is killed, or ends by itself.
func (h *Host) Dead() <-chan struct{} { return h.dead }

// Err is why it is dead.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Kill is kill -9: from this moment on nothing of the host reaches the disk,
// CCS or a plugin, and the plugins die too. Wait ends what is left of it.
func (h *Host) Kill() { h.kill(ErrKilled) }

func (h *Host) kill(why error) {
	h.dying.Do(func() {
		h.mu.Lock()
		h.err = why
		processes := make([]*Process, 0, len(h.processes))
		for p := range h.processes {
			processes = append(processes, p)
		}
		h.mu.Unlock()
		close(h.dead)
		h.Link.sever()
		for _, p := range processes {
			p.exit()
		}
		if h.stopEdge != nil {
			h.stopEdge()
			h.stopCore()
		}
	})
}

// Wait ends a killed host's goroutines and closes its files. The next host
// finds the files as they were at the kill. In a bubble call synctest.Wait
// before: badger may still be moving a memtable to disk.
func (h *Host) Wait() error { return h.wait(true) }

// WaitClosing is Wait, but the next host finds the files as badger's own Close
// leaves them.
func (h *Host) WaitClosing() error { return h.wait(false) }

func (h *Host) wait(keep bool) error {
	h.ended.Do(func() {
		old := h.o.Disk.dir()
		if keep {
			h.endErr = h.o.Disk.keep()
		}
		h.edge.Wait()    //nolint:errcheck // Err has it
		h.plugins.Wait() //nolint:errcheck // they are dead
		h.core.Wait()    //nolint:errcheck // Err has it
		h.Ledger.Close() //nolint:errcheck // it was poisoned by the kill
		if keep {
			h.endErr = errors.Join(h.endErr, h.o.Disk.remove(old))
		}
	})
	return h.endErr
}

// Stop ends the host as SIGTERM does, and returns the first thing that was not
// as it should be.
func (h *Host) Stop() error {
	h.stopEdge()
	err := h.edge.Wait()
	h.mu.Lock()
	h.stopping = true
	left := make([]*Process, 0, len(h.processes))
	for p := range h.processes { // second ones
		left = append(left, p)
	}
	h.mu.Unlock()
	for _, p := range left {
		h.retire(p)
	}
	err = errors.Join(err, h.plugins.Wait())
	h.stopCore()
	err = errors.Join(err, h.core.Wait(), h.Ledger.Close())
	select {
	case <-h.dead: // in the middle of it
		h.ended.Do(func() {})
		return h.Err()
	default:
	}
	if alarms := h.Ledger.Alarms(); len(alarms) > 0 {
		err = errors.Join(err, fmt.Errorf("ledger: %q", alarms))
	}
	return err
}

// Plugins are the names of the plugins, sorted.
func (h *Host) Plugins() []string {
	var names []string
	for _, p := range h.o.Plugins {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}
