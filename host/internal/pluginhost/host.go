package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/process"
)

// limits are the times of this package; tests shorten them.
type limits struct {
	quiet     time.Duration // a file is stable when unchanged for so long
	patience  time.Duration // a file that changes for longer is told of
	absence   time.Duration // a file is gone when missing for so long
	rescan    time.Duration // the folder is looked at this often without a hint
	crowd     time.Duration // a start that takes longer lets another begin, and goes on
	boot      time.Duration // the plugins that were there at the start are waited for no longer than this
	handshake time.Duration // from the process's start to its handshake
	answer    time.Duration // of the connection, the health check and Describe, each
	configure time.Duration // of Configure, which runs the plugin's Start
	ping      time.Duration // between pings, and for each
	grace     time.Duration // for an exit after Shutdown, and again after SIGTERM
	moment    time.Duration // between a broken connection and the exit that broke it
	healthy   time.Duration // after so long without a failure the backoff begins anew
	verdict   time.Duration // between looks at new content on probation
	weigh     time.Duration // between looks at the memory of a process
	lines     int           // log lines of a plugin in a second; more are dropped and counted
}

// BootTime is how long, at most, the plugins that were there at the start are
// waited for.
const BootTime = 15 * time.Second

var usual = limits{
	quiet: 200 * time.Millisecond, patience: 10 * time.Second, absence: 5 * time.Second, rescan: 5 * time.Second,
	crowd: 2 * time.Second, boot: BootTime, handshake: 10 * time.Second, answer: 5 * time.Second, configure: 30 * time.Second, ping: 10 * time.Second,
	grace: 2 * time.Second, moment: time.Second, healthy: 5 * time.Minute,
	verdict: 500 * time.Millisecond, weigh: 250 * time.Millisecond, lines: 1000,
}

// maxStarting bounds how many plugins are started at the same time: so many whose
// content is proven, and so many others. What hangs or crashes at its start does not
// hold up what works.
const maxStarting = 8

// Host runs the plugins of one folder.
type Host struct {
	o       Options
	limits  limits
	log     hclog.Logger
	metrics *metrics
	proven  chan struct{}   // one for each proven content that is being started
	others  chan struct{}   // and for each other one
	parent  *process.Parent // set by Run before anything is started
	hint    chan struct{}   // look into the folder; capacity 1
	asking  chan struct{}   // look receives from it whenever it can
	looked  chan struct{}   // closed when look has ended
	yard    artefact.Yard
	copying chan struct{} // one for each copy that is being made
	aside   aside
	// stopping is set by Run, closed when it shall end.
	stopping <-chan struct{}

	mu       sync.Mutex                      // guards what follows
	plugins  map[string]*supervisor          // only look adds to it
	chosen   func(name string) PluginOptions // by Configure; nil: Options.Plugin
	booting  map[string]bool                 // the boot waits for these to say what they are; nil when it is over
	ignored  map[string]string               // what has a plugin's name in the folder and is none, with the reason
	declined map[string]string               // why the file that a plugin has now is not taken
}

// New makes a host; Run starts it.
func New(o Options) *Host {
	o.StopTimeout = cmp.Or(o.StopTimeout, 10*time.Second)
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Sessions == nil {
		o.Sessions = func() []string { return nil }
	}
	return &Host{
		o: o, limits: usual, log: o.Log, metrics: newMetrics(o.Metrics),
		proven: make(chan struct{}, maxStarting), others: make(chan struct{}, maxStarting),
		copying: make(chan struct{}, maxStaging), hint: make(chan struct{}, 1), asking: make(chan struct{}), looked: make(chan struct{}), plugins: map[string]*supervisor{}, booting: map[string]bool{}, declined: map[string]string{},
	}
}

// Run runs plugins until ctx ends; then it drains and stops them all, and
// leaves no process, socket or temporary file. It fails only when it can't
// begin: no folder for the plugins' sockets or copies can be made.
func (h *Host) Run(ctx context.Context) (err error) {
	if h.o.DataDir, err = filepath.Abs(h.o.DataDir); err != nil {
		return fmt.Errorf("find data folder: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(h.o.DataDir, "plugins"), 0o700); err != nil {
		return fmt.Errorf("make folder for plugins' copies: %w", err)
	}
	if err := artefact.Sweep(h.o.DataDir); err != nil {
		h.log.Warn("unfinished copies of plugins can't be removed", "err", err)
	}
	if h.parent, err = process.Open(h.o.DataDir, h.log); err != nil {
		return err
	}
	defer h.parent.Close() // after the last process

	var plugins errgroup.Group
	h.stopping = ctx.Done()
	h.yard.Folder, h.yard.DataDir, h.yard.Spare, h.yard.Stopping = h.o.Dir, h.o.DataDir, h.o.DiskSoft, h.stopping
	h.aside.Go(func() { artefact.Watch(ctx, h.o.Dir, h.limits.rescan, h.rescan, h.log) })
	h.look(ctx, &plugins)
	err = plugins.Wait()
	if !h.aside.wait(h.limits.grace) {
		h.log.Error("the file system of the plugins folder does not answer: not waited for", "err", h.o.Dir)
	}
	return errors.Join(err, artefact.Sweep(h.o.DataDir)) // unfinished copies
}

// rescan has the folder looked at soon.
func (h *Host) rescan() {
	select {
	case h.hint <- struct{}{}:
	default: // there is one already
	}
}

// look looks at the folder, until ctx ends, and tells the supervisors, which it
// starts in their group.
func (h *Host) look(ctx context.Context, plugins *errgroup.Group) {
	defer close(h.looked)
	var boot sync.WaitGroup
	stability := artefact.Stability{Quiet: h.limits.quiet, Patience: h.limits.patience, Absence: h.limits.absence}
	complaint, booting, known := "", true, false
	for ctx.Err() == nil {
		seen, err := h.scan(ctx)
		again := h.limits.rescan
		if ctx.Err() != nil {
			break
		} else if err != nil {
			if complaint != err.Error() {
				complaint = err.Error()
				h.log.Warn("plugins folder can't be read: plugins stay as they are", "err", err)
			}
		} else {
			complaint = ""
			if !known {
				known = true
				stability.Expect(time.Now(), h.missing(seen))
			}
			stability.Spare(&seen)
			c := stability.Look(time.Now(), seen.Present)
			if booting {
				for _, name := range c.Found {
					boot.Add(1)
					h.awaited(name, true)
					h.supervise(ctx, name, nil, func() { h.awaited(name, false); boot.Done() }, plugins)
				}
			}
			// After the boot, a file has a supervisor from when it is stable on: some
			// tools give their files another name for a moment.
			for _, f := range c.Stable {
				h.supervise(ctx, f.Name, &f, func() {}, plugins)
			}
			h.tell(c, len(seen.Present) == 0)
			again = cmp.Or(c.Again, again)
		}
		if booting {
			booting = false
			plugins.Go(func() error {
				h.endBoot(ctx, &boot)
				return nil
			})
		}
		pause(ctx, nil, 20*time.Millisecond, h.asking) // a hint for every event would be too many looks
		pause(ctx, h.hint, again, h.asking)
	}
}

// Alive returns when the loop that looks at the folder has answered: at once, unless
// it hangs. It doesn't hang when only the folder's file system doesn't answer.
func (h *Host) Alive() {
	select {
	case h.asking <- struct{}{}:
	case <-h.looked:
	}
}

// endBoot ends the boot when all plugins that were there have been described or have
// failed, or at its deadline: those that hang must not hold up the others.
func (h *Host) endBoot(ctx context.Context, boot *sync.WaitGroup) {
	all := make(chan struct{})
	go func() { //house:go endBoot waits for it
		boot.Wait() // every supervisor's end is one, too
		close(all)
	}()
	defer func() { <-all }()
	late := time.NewTimer(h.limits.boot)
	defer late.Stop()
	select {
	case <-all:
	case <-late.C:
		h.log.Warn("some plugins have not said yet what they are: the others' events don't wait for them any longer", "waited", h.limits.boot)
	case <-ctx.Done():
	}
	h.mu.Lock()
	h.booting = nil
	h.mu.Unlock()
	if ctx.Err() == nil {
		h.o.Dispatcher.Booted()
	}
}

// awaited notes that the boot waits for a plugin, or does no longer.
func (h *Host) awaited(name string, yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if yes {
		h.booting[name] = true
	} else {
		delete(h.booting, name)
	}
}

// Awaited are the plugins that the boot waits for, by name: until each has said
// what it is or has failed, BootTime at most, no plugin gets events. After the boot
// there are none.
func (h *Host) Awaited() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.booting))
}

// scan looks at the folder, for as long as its file system doesn't answer.
func (h *Host) scan(ctx context.Context) (artefact.Found, error) {
	var all artefact.Found
	seen := make(chan error, 1)
	h.aside.Go(func() {
		var err error
		all, err = artefact.Scan(h.o.Dir)
		seen <- err
	})
	late := time.NewTimer(h.limits.patience)
	defer late.Stop()
	for {
		select {
		case err := <-seen:
			if err == nil {
				h.ignore(all.None)
			}
			return all, err
		case <-h.asking:
		case <-ctx.Done():
			return artefact.Found{}, context.Cause(ctx) // the goroutine may still write all
		case <-late.C:
			h.log.Error("the file system of the plugins folder does not answer: its changes are not seen until it does", "took", h.limits.patience)
		}
	}
}

// missing are the plugins of which there are copies and that aren't in the folder.
func (h *Host) missing(seen artefact.Found) []string {
	names, err := artefact.Stores(h.o.DataDir)
	if err != nil {
		h.log.Warn("copies of removed plugins stay", "err", err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		_, there := seen.Present[name]
		return there || seen.Unclear[name]
	})
}

// sweep removes the copies of a plugin that was removed while no host ran.
func (h *Host) sweep(name string) {
	if err := h.store(name).Clear(); err != nil {
		h.log.Warn("copies of a removed plugin stay", "plugin", name, "err", err)
	}
}

// supervise offers a file, or nothing yet, to the supervisor of its name, which
// it starts if there is none.
func (h *Host) supervise(ctx context.Context, name string, f *artefact.File, first func(), plugins *errgroup.Group) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.plugins[name]
	if s == nil {
		s = newSupervisor(h, name, h.chosenOptions(name), first)
		h.plugins[name] = s
		plugins.Go(func() error { return s.run(ctx) })
	}
	if f != nil {
		s.offer(f)
	}
}

// forget removes the supervisor of a plugin that has left, unless there is news for it.
// A file that comes under its name later gets a new one.
func (h *Host) forget(s *supervisor) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.box.empty() {
		return false
	}
	delete(h.plugins, s.name)
	delete(h.declined, s.name)
	return true
}

// tell passes on what else a look brought. An empty folder removes no plugin that was
// there before this host's start: perhaps the folder is not mounted yet.
func (h *Host) tell(c artefact.Changes, empty bool) {
	var left []string
	defer func() {
		for _, name := range left { // without mu, since the disk may not answer; no supervisor of these can come up, since only look starts them, and it waits here
			h.sweep(name)
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range c.Gone {
		if s := h.plugins[name]; s != nil {
			s.offer(nil)
		} else if !empty && !h.chosenOptions(name).KeepRemoved {
			left = append(left, name)
		}
	}
	for _, name := range c.Busy {
		if s := h.plugins[name]; s != nil {
			s.busy()
		} else {
			h.log.Warn("plugin's file is still being written: not taken yet", "plugin", name)
		}
	}
}

// pause waits for a hint, the time, or the end of ctx, and takes what is asked.
func pause(ctx context.Context, hint <-chan struct{}, d time.Duration, asking <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-asking:
		case <-ctx.Done():
			return
		case <-hint:
			return
		case <-timer.C:
			return
		}
	}
}

func (h *Host) store(name string) *artefact.Store { return artefact.NewStore(h.o.DataDir, name) }

// options are a plugin's.
func (h *Host) options(name string) PluginOptions {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chosenOptions(name)
}

// chosenOptions are a plugin's, with what must not be zero. mu is held.
func (h *Host) chosenOptions(name string) (o PluginOptions) {
	switch {
	case h.chosen != nil:
		o = h.chosen(name)
	case h.o.Plugin != nil:
		o = h.o.Plugin(name)
	}
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 30*time.Second)
	o.RestartMin = cmp.Or(o.RestartMin, time.Second)
	o.RestartMax = max(cmp.Or(o.RestartMax, 60*time.Second), o.RestartMin)
	o.Strategy = cmp.Or(o.Strategy, Handover)
	return o
}
