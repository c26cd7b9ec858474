package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccs"
	"balhost/host/internal/config"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/gateway"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/ledger"
	"balhost/host/internal/mend"
	"balhost/host/internal/outbox"
	"balhost/host/internal/page"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/outlet"
)

// Options are what a host needs besides its config.
type Options struct {
	Version string
	Log     hclog.Logger
	// Load reads the config again for a reload. Hangup asks for a reload; it may be nil.
	Load   func() (config.Config, error)
	Hangup <-chan os.Signal
	// LogStats counts the lines of Log that were lost; nil: they are not counted.
	LogStats func() outlet.Stats
	// Exit ends the process at once after a failed commit; nil is os.Exit.
	Exit func(code int)
	// Overdue is called when stopping takes longer than StopLimit. It doesn't return.
	// nil: the host keeps waiting.
	Overdue func()
	// StopTimeout is how long plugins may take to finish their events when the host
	// stops; 0 is pluginhost's 10 s.
	StopTimeout time.Duration
	// Device is where virtual devices are, for the page to type to; "": there are none.
	Device string
	// Make makes the parts; the zero value makes the real ones.
	Make Makers
}

// Makers make the parts of a host from the options that the wiring gives them. A nil
// field stands for the package's constructor. A simulation puts its own disk, network
// and plugins into the options, and keeps the parts.
type Makers struct {
	Ledger   func(context.Context, ledger.Options) (*ledger.Ledger, error)
	Dispatch func(dispatch.Options) *dispatch.Dispatcher
	Outbox   func(outbox.Options) *outbox.Outbox
	CCS      func(ccs.Options) *ccs.Session
	FCMv1    func(fcmv1.Options) *fcmv1.Session
	Gateway  func(gateway.Options) *gateway.Gateway
	Plugins  func(pluginhost.Options) (h *pluginhost.Host, run func(context.Context) error)
	API      func(admin.Options) (API, error)
}

// API is the server of the HTTP API.
type API interface {
	Addr() string
	Run(context.Context) error
	// Record puts what was done without the API into the audit log.
	Record(who, did string, err error)
	// Certificate is when the API's certificate ends, and what is wrong with it; zero and nil without one.
	Certificate(now time.Time) (until time.Time, warnings []string)
}

func (o Options) withDefaults() Options {
	if o.Exit == nil {
		o.Exit = os.Exit
	}
	m := &o.Make
	if m.Ledger == nil {
		m.Ledger = ledger.Open
	}
	if m.Dispatch == nil {
		m.Dispatch = dispatch.New
	}
	if m.Outbox == nil {
		m.Outbox = outbox.New
	}
	if m.CCS == nil {
		m.CCS = ccs.New
	}
	if m.FCMv1 == nil {
		m.FCMv1 = fcmv1.New
	}
	if m.Gateway == nil {
		m.Gateway = gateway.New
	}
	if m.Plugins == nil {
		m.Plugins = func(o pluginhost.Options) (*pluginhost.Host, func(context.Context) error) {
			h := pluginhost.New(o)
			return h, h.Run
		}
	}
	if m.API == nil {
		m.API = func(o admin.Options) (API, error) { return admin.Listen(o) }
	}
	return o
}

// ledgerOptions turns a config into the ledger's options.
func ledgerOptions(cfg config.Config, log hclog.Logger) ledger.Options {
	return ledger.Options{
		Dir:         filepath.Join(cfg.DataDir, "ledger"),
		DedupWindow: cfg.Ledger.DedupWindow,
		Retention:   cfg.Ledger.Retention,
		DiskSoft:    cfg.Ledger.DiskSoft,
		DiskHard:    cfg.Ledger.DiskHard,
		Ballast:     cfg.Ledger.Ballast,
		Inodes:      cfg.Ledger.Inodes,
		Uptime:      ledger.Uptime,
		Log:         log.Named("ledger"),
	}
}

// LedgerKey reads the key that the config names for the ledger; nil if it names none.
func LedgerKey(cfg config.Config) (*keyfile.Key, error) {
	if cfg.Ledger.KeyFile == "" {
		return nil, nil
	}
	key, err := keyfile.Read(cfg.Ledger.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("ledger.encryption_key_file: %w", mend.With(err))
	}
	return key, nil
}

// CheckKey is an error if the ledger can't be opened with the key that the config names.
func CheckKey(cfg config.Config) error {
	key, err := LedgerKey(cfg)
	if err != nil {
		return err
	}
	o := ledgerOptions(cfg, hclog.NewNullLogger())
	o.Key = key
	return ledger.CheckKey(o)
}

func (h *host) ledgerOptions(key *keyfile.Key) ledger.Options {
	o := ledgerOptions(h.config(), h.o.Log)
	o.Key = key
	o.Metrics, o.Feed, o.Tracer = h.parts.ledger.metrics, h.feed, h.tracer
	o.Poison = func(error) { h.o.Exit(exitRecover) }
	return o
}

func (h *host) outboxOptions() outbox.Options {
	return outbox.Options{Ledger: h.ledger, Senders: h.labels, Log: h.o.Log.Named("outbox"), Metrics: h.parts.outbox.metrics, Feed: h.feed, Tracer: h.tracer, TraceOf: h.ledger.SentTrace}
}

func (h *host) dispatchOptions() dispatch.Options {
	return dispatch.Options{Ledger: h.ledger, Senders: h.labels, Log: h.o.Log.Named("dispatch"), Metrics: h.parts.dispatch.metrics, Feed: h.feed, Tracer: h.tracer}
}

func (h *host) pluginsOptions() pluginhost.Options {
	cfg := h.config()
	return pluginhost.Options{
		Dir:         cfg.PluginsDir,
		Bounds:      pluginhost.Bounds{Bytes: cfg.PluginBytes, Entries: cfg.PluginEntries},
		DataDir:     cfg.DataDir,
		DiskSoft:    cfg.Ledger.DiskSoft,
		Version:     h.o.Version,
		Sessions:    h.labels,
		Plugin:      h.pluginOptions,
		StopTimeout: h.o.StopTimeout,
		Dispatcher:  h.dispatch,
		Log:         h.o.Log.Named("plugin"),
		Metrics:     h.parts.plugins.metrics,
		Feed:        h.feed,
	}
}

func (h *host) apiOptions() admin.Options {
	cfg, functions := h.config(), h.functions()
	return admin.Options{
		Listen: cfg.Admin.Listen, TLS: adminFiles(cfg.Admin), Tokens: h.tokens, AuditDir: cfg.DataDir, Functions: functions, Metrics: h.parts, Log: h.o.Log.Named("admin"),
		Pages: page.New(page.Options{Functions: functions, Device: h.o.Device}).Rows(),
	}
}

// PluginOptions are what a plugin's block means.
func PluginOptions(p config.Plugin) pluginhost.PluginOptions {
	return pluginhost.PluginOptions{
		Categories:     p.Categories,
		Order:          p.Order,
		MaxAttempts:    p.MaxAttempts,
		HandlerTimeout: p.HandlerTimeout,
		DrainTimeout:   p.DrainTimeout,
		StartTimeout:   p.StartTimeout,
		MaxInFlight:    p.MaxInFlight,
		SuspectAfter:   p.SuspectAfter,
		RestartMin:     p.RestartBackoff.Min,
		RestartMax:     p.RestartBackoff.Max,
		Strategy:       pluginhost.Strategy(p.Strategy),
		Probation:      p.Probation,
		KeepRemoved:    p.OnRemove == "keep",
		SHA256:         p.SHA256,
		MemoryMax:      p.MemoryMax,
		Debug:          p.Debug,
		Config:         p.Config,
		Env:            p.Env.Reveal(),
	}
}
