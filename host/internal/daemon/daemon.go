// Package daemon connects the parts of a host. It opens them in the order of their
// lifetimes, runs them, and ends them in the reverse order. It is the only package
// that knows all parts, and decides nothing else. Start at [Run].
package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/ledger"
	"balhost/host/internal/mend"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/outlet"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// StopLimit is how long a host may take to stop; see Options.Overdue.
const StopLimit = 30 * time.Second

// exitRecover is the exit status of a process that ends on purpose, to recover on the
// next start (P10).
const exitRecover = 75

// Run prepares the process for a host, and runs it as [Serve] does.
func Run(ctx context.Context, cfg config.Config, o Options) error {
	defer limitMemory()()
	err := Answers("data_dir "+cfg.DataDir, func() error {
		if err := ledger.MakeFolder(cfg.DataDir); err != nil {
			return fmt.Errorf("make data_dir: %w", err)
		}
		return mend.Access(cfg.DataDir, config.Own...)
	})
	if err != nil {
		return mend.With(err)
	}
	keepCrashes(cfg.DataDir, o.Log)
	fewFiles(cfg, o.Log)
	for _, weak := range cfg.Admin.Warnings() {
		o.Log.Warn(weak)
	}
	if err := pluginhost.Sweep(cfg.DataDir); err != nil {
		o.Log.Warn("unfinished copies of plugins could not be removed and take space on the disk", "err", err)
	}
	return mend.With(Serve(ctx, cfg, o))
}

// Serve runs a host until ctx ends, even if it is still opening then. It drains its
// plugins, closes its sessions and its ledger, and returns nil. Any other end is an
// error. When a commit fails, the process exits with status 75 (P10).
func Serve(ctx context.Context, cfg config.Config, o Options) (err error) {
	o = o.withDefaults()
	failed, fail := context.WithCancelCause(ctx) // ends with ctx, or when a part fails
	defer stopInTime(failed, o.Overdue)()        // also limits the ledger's end
	defer fail(nil)
	h := newHost(cfg, o)
	key, err := LedgerKey(cfg)
	if err != nil {
		return err
	}
	closeTraces, err := h.openTraces(ctx)
	if err != nil {
		return err
	}
	defer closeTraces() // what the others below have told is exported last
	if h.ledger, err = o.Make.Ledger(ctx, h.ledgerOptions(key)); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	defer func() { err = errors.Join(err, h.ledger.Close()) }() // closed last: all parts below write to it
	h.outbox = o.Make.Outbox(h.outboxOptions())
	if err := h.readPauses(); err != nil {
		return err
	}
	h.sessions = newFleet(h.parts.sessions.metrics, h.newSession)
	h.dispatch = o.Make.Dispatch(h.dispatchOptions())
	var runPlugins func(context.Context) error
	h.plugins, runPlugins = o.Make.Plugins(h.pluginsOptions())
	h.parts.own = h.plugins.Metrics
	h.parts.host.metrics.MustRegister(newGauges(h))
	var first change
	err = Answers("a ca_file", func() (err error) {
		made, err := h.sessions.prepare(cfg.Sessions)
		if err == nil {
			first = made
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := h.sessions.listen(ctx, first); err != nil {
		return err
	}
	api, err := o.Make.API(h.apiOptions())
	if err != nil {
		first.close()
		return err
	}
	h.api = api
	o.Log.Info("host is starting", "version", o.Version, "admin", api.Addr(), "plugins", cfg.PluginsDir, "data", cfg.DataDir)

	// The edge brings work in. It ends first. Meanwhile the core still commits what
	// plugins finish and what CCS answers.
	coreCtx, stopCore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCore()
	var core errgroup.Group
	core.Go(running(coreCtx, fail, "dispatch", h.dispatch.Run))
	core.Go(running(coreCtx, fail, "outbox", h.outbox.Run))

	edge, edgeCtx := errgroup.WithContext(failed)
	edge.Go(running(edgeCtx, fail, "sessions", h.sessions.run))
	edge.Go(func() error {
		h.sessions.apply(edgeCtx, first) //nolint:errcheck // its only error is the context's; whoever ended the context reports why
		return nil
	})
	edge.Go(running(edgeCtx, fail, "series", h.sampler.run))
	edge.Go(running(edgeCtx, fail, "plugins", runPlugins))
	edge.Go(running(edgeCtx, fail, "admin", api.Run))
	edge.Go(running(edgeCtx, fail, "reload", func(ctx context.Context) error { return h.followHangups(ctx, api) }))
	edge.Go(running(edgeCtx, fail, "supervisor", func(ctx context.Context) error { return h.supervisor.run(ctx, h.live, h.health) }))
	edgeErr := edge.Wait()
	stopCore()
	err = errors.Join(edgeErr, core.Wait())
	o.Log.Info("host has stopped")
	return err
}

// NeedsFiles is how many files a host with this config may have open: for connections, the
// ledger's tables, and plugins' pipes.
func NeedsFiles(cfg config.Config) uint64 {
	least := uint64(1024)
	for _, s := range cfg.Sessions {
		least += uint64(connections(s))
	}
	return least
}

// fewFiles warns when the limit of open files is lower than this process may need.
func fewFiles(cfg config.Config, log hclog.Logger) {
	if most, need := mend.Files(), NeedsFiles(cfg); most < need {
		log.Warn(fmt.Sprintf("the host may open %d files, but may need %d: raise LimitNOFILE in its unit, or ulimit -n", most, need))
	}
}

// connections are those of a session at most: a server's with their successors, and
// those of devices.
func connections(s config.Session) (n int) {
	if s.FCMv1 != nil {
		n += 2 * s.FCMv1.Connections
	}
	if s.CCS != nil {
		n += 2 * s.CCS.Connections
	}
	if s.Gateway != nil {
		n += s.Gateway.MaxConnections
	}
	return n
}

// countLines adds metrics for the log's lines that were lost.
func countLines(metrics prometheus.Registerer, stats func() outlet.Stats) {
	if stats == nil {
		return
	}
	counter := func(name, help string, of func(outlet.Stats) uint64) {
		metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(of(stats())) }))
	}
	counter("balhost_log_dropped_lines_total", "Lines of the host's log that were dropped because nobody read the log.", func(s outlet.Stats) uint64 { return s.Dropped })
	counter("balhost_log_failed_lines_total", "Lines of the host's log that could not be written.", func(s outlet.Stats) uint64 { return s.Failed })
}

// stopInTime calls overdue StopLimit after the end of ctx, unless the function that it
// returns is called before.
func stopInTime(ctx context.Context, overdue func()) (ended func()) {
	if overdue == nil {
		return func() {}
	}
	over := make(chan struct{})
	context.AfterFunc(ctx, func() { //house:go ends with the host, or ends the process
		late := time.NewTimer(StopLimit)
		defer late.Stop()
		select {
		case <-over:
		case <-late.C:
			overdue()
		}
	})
	return func() { close(over) }
}

// running runs one part until ctx ends. If the part stops earlier, it has failed, and
// the host with it.
func running(ctx context.Context, fail context.CancelCauseFunc, name string, run func(context.Context) error) func() error {
	return func() error {
		err := run(ctx)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
			return nil
		case err == nil:
			err = errors.New("stopped unasked")
		}
		err = fmt.Errorf("%s: %w", name, err)
		fail(err)
		return err
	}
}
