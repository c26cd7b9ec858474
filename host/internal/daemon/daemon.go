// Package daemon wires the parts into a host: it opens them in the order of
// their lifetimes, runs them, and ends them the other way round. It is the only
// package that knows them all, and decides nothing else. Start at [Run].
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/backoff"
	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/mend"
	"balhost/host/internal/outbox"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/outlet"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
)

// Options are what a host needs beside its config.
type Options struct {
	Version string
	Log     hclog.Logger
	// Load reads the config again, for a reload. Hangup asks for one; it may be nil.
	Load   func() (config.Config, error)
	Hangup <-chan os.Signal
	// LogStats tells what became of Log's lines; nil: nobody knows.
	LogStats func() outlet.Stats
	// Exit ends the process at once, when a commit has failed; nil is os.Exit.
	Exit func(code int)
	// Overdue is called when the host has not stopped StopLimit after it began to.
	// It doesn't return; nil: the host waits on.
	Overdue func()
	// StopTimeout is how long plugins may finish what they hold when the host
	// stops; 0 is pluginhost's 10 s.
	StopTimeout time.Duration
}

// StopLimit is how long a host may take to stop; see Options.Overdue.
const StopLimit = 30 * time.Second

// exitRecover is the status of a process that ends by intention, to recover on
// the next start (P10).
const exitRecover = 75

// Run runs a host until ctx ends; then it drains its plugins, closes its
// sessions and its ledger, and returns nil, also when it was still opening them. Any other end is an error. When a
// commit fails the process exits with status 75 (P10).
func Run(ctx context.Context, cfg config.Config, o Options) (err error) {
	defer func() { err = mend.With(err) }()
	started := time.Now()
	limitMemory()
	failed, fail := context.WithCancelCause(ctx) // at the end of ctx, and when a part fails
	defer stopInTime(failed, o.Overdue)()        // the ledger's end, too
	defer fail(nil)
	if o.Exit == nil {
		o.Exit = os.Exit
	}
	err = Answers("data_dir "+cfg.DataDir, func() error {
		if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
			return fmt.Errorf("make data_dir: %w", err)
		}
		return mend.Access(cfg.DataDir, config.Own...)
	})
	if err != nil {
		return err
	}
	keepCrashes(cfg.DataDir, o.Log)
	fewFiles(cfg, o.Log)
	parts := newParts()
	parts.host.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	countLines(parts.host.metrics, o.LogStats)

	if err := pluginhost.Sweep(cfg.DataDir); err != nil {
		o.Log.Warn("the disk holds more than it need", "err", err)
	}
	kept := ledgerOptions(cfg, o.Log)
	kept.Metrics = parts.ledger.metrics
	kept.Poison = func(error) { o.Exit(exitRecover) }
	led, err := ledger.Open(ctx, kept)
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return nil
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, led.Close()) }() // last to go: everyone below writes to it

	var h *host
	out := outbox.New(outbox.Options{
		Ledger: led, Senders: func() entry.Senders { return h.labels() }, Log: o.Log.Named("outbox"), Metrics: parts.outbox.metrics,
	})
	connects := ccs.NewConnects(cfg.ConnectRate)
	sessions := newFleet(parts.sessions.metrics, func(s config.Session) (ccs.Options, error) {
		opts, err := sessionOptions(s)
		opts.Secrets = []string{cfg.Admin.Token.Reveal()}
		opts.Inbox, opts.Outbox, opts.Connects, opts.Log = led, out, connects, o.Log.Named("ccs").With("session", s.Name)
		return opts, err
	})
	var first change
	err = Answers("a ca_file", func() (err error) {
		made, err := sessions.prepare(cfg.Sessions)
		if err == nil {
			first = made
		}
		return err
	})
	if err != nil {
		return err
	}
	h = &host{o: o, started: started, parts: parts, ledger: led, outbox: out, sessions: sessions, connects: connects,
		reloading: make(chan struct{}, 1), files: make(chan struct{}, 1)}
	h.follow(cfg)
	h.dispatch = dispatch.New(dispatch.Options{
		Ledger:  led,
		Senders: h.labels,
		Log:     o.Log.Named("dispatch"),
		Metrics: parts.dispatch.metrics,
	})
	h.plugins = pluginhost.New(pluginhost.Options{
		Dir:         cfg.PluginsDir,
		DataDir:     cfg.DataDir,
		DiskSoft:    cfg.Ledger.DiskSoft,
		Version:     o.Version,
		Sessions:    func() []string { return h.labels().Names() },
		Plugin:      h.pluginOptions,
		StopTimeout: o.StopTimeout,
		Dispatcher:  newPlugins(h.dispatch),
		Log:         o.Log.Named("plugin"),
		Metrics:     parts.plugins.metrics,
	})
	api, err := admin.Listen(admin.Options{
		Listen: cfg.Admin.Listen, Token: cfg.Admin.Token.Reveal(), Functions: h.functions(), Metrics: parts, Log: o.Log.Named("admin"),
	})
	if err != nil {
		return err
	}
	o.Log.Info("host is starting", "version", o.Version, "admin", api.Addr(), "plugins", cfg.PluginsDir, "data", cfg.DataDir)

	// The edge is what brings work in. It ends first, and by itself, while the
	// core still commits what plugins finish and what CCS answers.
	coreCtx, stopCore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCore()
	var core errgroup.Group
	core.Go(running(coreCtx, fail, "dispatch", h.dispatch.Run))
	core.Go(running(coreCtx, fail, "outbox", out.Run))

	edge, edgeCtx := errgroup.WithContext(failed)
	edge.Go(running(edgeCtx, fail, "sessions", sessions.run))
	edge.Go(func() error {
		sessions.apply(edgeCtx, first) //nolint:errcheck // its only error is the context's, and why that ended is said by who ended it
		return nil
	})
	edge.Go(running(edgeCtx, fail, "plugins", h.plugins.Run))
	edge.Go(running(edgeCtx, fail, "admin", api.Run))
	edge.Go(running(edgeCtx, fail, "reload", h.followHangups))
	edge.Go(running(edgeCtx, fail, "supervisor", func(ctx context.Context) error { return newSupervisor(o.Log).run(ctx, h.live) }))
	edgeErr := edge.Wait()
	stopCore()
	err = errors.Join(edgeErr, core.Wait())
	o.Log.Info("host has stopped")
	return err
}

// fewFiles warns when this process may have fewer files open than it can come to
// need: connections, each with its successor, the ledger's tables, plugins' pipes.
func fewFiles(cfg config.Config, log hclog.Logger) {
	least := uint64(1024)
	for _, s := range cfg.Sessions {
		least += 2 * uint64(s.Connections)
	}
	if most := mend.Files(); most < least {
		log.Warn(fmt.Sprintf("the host may have %d files open, and can come to need %d: raise LimitNOFILE in its unit, or ulimit -n", most, least))
	}
}

// part runs one part until ctx ends. A part that stops before has failed, and
// countLines has the metrics tell what became of the log's lines.
func countLines(metrics prometheus.Registerer, stats func() outlet.Stats) {
	if stats == nil {
		return
	}
	counter := func(name, help string, of func(outlet.Stats) uint64) {
		metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
			func() float64 { return float64(of(stats())) }))
	}
	counter("balhost_log_dropped_lines_total", "Lines of the host's log that were dropped: nobody read those before them.", func(s outlet.Stats) uint64 { return s.Dropped })
	counter("balhost_log_failed_lines_total", "Lines of the host's log that could not be written.", func(s outlet.Stats) uint64 { return s.Failed })
}

// stopInTime calls overdue StopLimit after the end of ctx, unless it is told
// before that everything has ended.
func stopInTime(ctx context.Context, overdue func()) (ended func()) {
	if overdue == nil {
		return func() {}
	}
	over := make(chan struct{})
	context.AfterFunc(ctx, func() {
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

// running runs one part until ctx ends. A part that stops before has failed, and
// so has the host.
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

func pluginOptions(p config.Plugin) pluginhost.PluginOptions {
	return pluginhost.PluginOptions{
		Categories:     p.Categories,
		Order:          p.Order,
		MaxAttempts:    p.MaxAttempts,
		HandlerTimeout: p.HandlerTimeout,
		DrainTimeout:   p.DrainTimeout,
		MaxInFlight:    p.MaxInFlight,
		SuspectAfter:   p.SuspectAfter,
		RestartMin:     p.RestartBackoff.Min,
		RestartMax:     p.RestartBackoff.Max,
		Strategy:       pluginhost.Strategy(p.Strategy),
		Probation:      p.Probation,
		KeepRemoved:    p.OnRemove == "keep",
		SHA256:         p.SHA256,
		MemoryMax:      p.MemoryMax,
		Config:         p.Config,
		Env:            p.Env.Reveal(),
	}
}

func sessionOptions(s config.Session) (ccs.Options, error) {
	o := ccs.Options{
		Name: s.Name, Address: s.Address, SenderID: s.SenderID, Key: s.ServerKey.Reveal(),
		Connections: s.Connections, MaxConnections: s.MaxConnections, Window: s.Window,
		PingInterval: s.PingInterval, PingTimeout: s.PingTimeout, AnswerTimeout: s.AnswerTimeout,
		MaxStanza: int(s.MaxStanza), AckWarn: s.AckWarn,
		Backoff: backoff.Policy{Min: s.ConnectBackoff.Min, Max: s.ConnectBackoff.Max},
		TLS:     &tls.Config{ServerName: s.TLS.ServerName},
	}
	if s.TLS.CAFile != "" {
		o.Roots = s.TLS.Roots
	}
	roots, err := s.TLS.Roots()
	if err != nil {
		return o, fmt.Errorf("session %q: ca_file: %w", s.Name, err)
	}
	o.TLS.RootCAs = roots
	return o, nil
}
