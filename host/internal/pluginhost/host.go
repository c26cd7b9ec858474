package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"balhost/host/internal/entry"
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/policy"
	"balhost/host/internal/pluginhost/process"
)

// limits are the times of this package; tests shorten them.
type limits struct {
	process.Limits
	policy.Times

	quiet     time.Duration // a file is stable when unchanged for so long
	patience  time.Duration // a file that changes for longer is told of
	absence   time.Duration // a file is gone when missing for so long
	rescan    time.Duration // the folder is looked at this often without a hint
	crowd     time.Duration // a start that takes longer lets another begin, and goes on
	boot      time.Duration // the plugins that were there at the start are waited for no longer than this
	configure time.Duration // of Configure, which runs the plugin's Start
	ping      time.Duration // between pings, and for each
	weigh     time.Duration // between looks at the memory of a process
	lines     int           // log lines of a plugin in a second; more are dropped and counted
}

// BootTime is how long, at most, the plugins that were there at the start are
// waited for.
const BootTime = 15 * time.Second

var usual = limits{
	Limits: process.Limits{Handshake: 30 * time.Second, Answer: 5 * time.Second, Grace: 2 * time.Second, Moment: time.Second},
	Times:  policy.Times{Healthy: 5 * time.Minute, Verdict: 500 * time.Millisecond, Again: time.Minute, AgainMax: time.Hour},
	quiet:  200 * time.Millisecond, patience: 10 * time.Second, absence: 5 * time.Second, rescan: 5 * time.Second,
	crowd: 2 * time.Second, boot: BootTime, configure: 30 * time.Second, ping: 10 * time.Second,
	weigh: 250 * time.Millisecond, lines: 1000,
}

// maxStarting bounds how many plugins are started at the same time: so many whose
// content is proven, and so many others. What hangs or crashes at its start does not
// hold up what works.
const maxStarting = 8

// maxStaging is how many copies are made at the same time. One that takes long
// makes room for another.
const maxStaging = 2

// Host runs the plugins of one folder.
type Host struct {
	o       Options
	limits  limits
	log     hclog.Logger
	metrics *metrics
	relayed *relayed        // of plugins' own metrics
	proven  chan struct{}   // one for each proven content that is being started
	others  chan struct{}   // and for each other one
	parent  *process.Parent // set by Run before anything is started
	hint    chan struct{}   // look into the folder; capacity 1
	asking  chan struct{}   // look receives from it whenever it can
	looked  chan struct{}   // closed when look has ended
	yard    artefact.Yard
	watch   *artefact.Watch // set by Run
	copying chan struct{}   // one for each copy that is being made
	aside   aside
	// stopping is set by Run, closed when it shall end.
	stopping <-chan struct{}

	mu       sync.Mutex             // guards what follows, and Options.Plugin
	plugins  map[string]*supervisor // only look adds to it
	booting  map[string]bool        // the boot waits for these to say what they are; nil when it is over
	ignored  map[string]string      // what has a plugin's name in the folder and is none, with the reason
	declined map[string]string      // why the file that a plugin has now is not taken
}

// New makes a host; Run starts it.
func New(o Options) *Host {
	o.StopTimeout = cmp.Or(o.StopTimeout, 10*time.Second)
	o.Bounds = cmp.Or(o.Bounds, artefact.Usual)
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Plugin == nil {
		o.Plugin = func(string) PluginOptions { return PluginOptions{} }
	}
	if o.Sessions == nil {
		o.Sessions = func() entry.Senders { return nil }
	}
	return &Host{
		o: o, limits: usual, log: o.Log, metrics: newMetrics(o.Metrics), relayed: newRelayed(),
		proven: make(chan struct{}, maxStarting), others: make(chan struct{}, maxStarting),
		copying: make(chan struct{}, maxStaging), hint: make(chan struct{}, 1), asking: make(chan struct{}), looked: make(chan struct{}),
		plugins: map[string]*supervisor{}, booting: map[string]bool{}, declined: map[string]string{},
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
	h.watch = artefact.NewWatch(h.o.Dir, h.limits.rescan, h.rescan, h.log)
	h.aside.Go(func() { h.watch.Run(ctx) })
	h.look(ctx, &plugins)
	err = plugins.Wait()
	if !h.aside.wait(h.limits.Grace) {
		h.log.Error("the file system of the plugins folder does not answer: not waited for", "err", h.o.Dir)
	}
	return errors.Join(err, artefact.Sweep(h.o.DataDir)) // unfinished copies
}

// enter waits for one of these places until done is closed. release lets the next one
// in. It may be called more than once, and is called when this takes long.
func (h *Host) enter(places chan struct{}, done <-chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
	case <-done:
		return nil, policy.ErrStopping
	}
	leave := sync.OnceFunc(func() { <-places })
	late := time.AfterFunc(h.limits.crowd, leave)
	return func() { late.Stop(); leave() }, nil
}

// aside are the goroutines that read the plugins folder. A file system that doesn't
// answer keeps them for ever, so they are waited for with a limit only.
type aside struct{ sync.WaitGroup }

// wait waits for the end of all, for as long as d, and reports whether it came.
func (a *aside) wait(d time.Duration) bool {
	over := make(chan struct{})
	go func() { //house:go waits for what may never end: more can't be done
		a.Wait()
		close(over)
	}()
	select {
	case <-over:
		return true
	case <-time.After(d):
		return false
	}
}
