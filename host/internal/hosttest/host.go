package hosttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccs"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/config"
	"balhost/host/internal/daemon"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/gateway"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/span"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Options describe a host. Disk, Sessions and what these connect with are needed.
type Options struct {
	Disk     *Disk
	Server   *ccssim.Server // of sessions with ccs
	FCM      *Pipes         // of sessions with fcm_v1: the listener of an fcmsim server
	Sessions []config.Session
	Plugins  []*Plugin
	Log      hclog.Logger
	Answers  bool // API's functions that ask pluginhost answer too, and so does Metrics: there is one, without plugins

	// These change what config.hcl has no keys for; nil changes nothing.
	Session  func(*Host, *ccs.Options)
	FCMv1    func(*Host, *fcmv1.Options)
	Gateway  func(*Host, *gateway.Options)
	Outbox   func(*outbox.Options)
	Dispatch func(*dispatch.Options)

	Tracer *span.Tracer // nil: nothing is traced
}

// Host is one life of a host, from Start to Stop or to a kill.
type Host struct {
	API      admin.Functions // without Options.Answers but for those that ask pluginhost: Status, Live, Ready, Pause, Resume, Rollback
	Metrics  prometheus.Gatherer
	Ledger   *ledger.Ledger
	Dispatch *dispatch.Dispatcher
	Link     *Link
	doors    map[string]*Pipes  // of the gateways, by sender id
	found    []entry.Downstream // that were pending when the ledger was opened
	opened   time.Time          // when that was

	o       Options
	end     context.CancelFunc
	leave   context.CancelFunc
	gone    context.Context // ends with daemon.Serve, or a kill
	served  errgroup.Group  // daemon.Serve
	up      chan struct{}   // closed when the plugins run
	over    chan struct{}   // closed when daemon.Serve has returned
	hungUp  chan struct{}   // closed when the API answers no more
	dead    chan struct{}   // closed at the moment of a kill
	dying   sync.Once
	copied  chan struct{} // closed when nobody needs the files of a killed host as they are
	release func()        // closes copied
	ended   sync.Once
	endErr  error

	to    pluginhost.Dispatcher
	names func() []string
	aside errgroup.Group // second processes, and ends of processes

	mu        sync.Mutex   // guards what follows
	poisoned  error        // why the ledger wants the process to end
	err       error        // why it is dead
	stopping  bool         // no process is started any more
	statuses  []func() any // of the sessions
	processes map[*Process]bool
	serving   map[string]*Process
	reload    map[string]chan struct{}
}

// ErrKilled is why a host is dead that was told to be. ErrStopped is the error of a
// call that was under way when the host stopped.
var (
	ErrKilled  = errors.New("killed")
	ErrStopped = errors.New("the host has stopped")
)

// Start starts a host on what its disk holds, and returns when its plugins run.
func Start(o Options) (*Host, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	ctx, end := context.WithCancel(context.Background())
	h := &Host{
		o: o, end: end, Link: &Link{server: o.Server, fcm: o.FCM}, doors: map[string]*Pipes{},
		up: make(chan struct{}), over: make(chan struct{}), hungUp: make(chan struct{}), dead: make(chan struct{}), copied: make(chan struct{}),
		processes: map[*Process]bool{}, serving: map[string]*Process{}, reload: map[string]chan struct{}{},
	}
	h.release = sync.OnceFunc(func() { close(h.copied) })
	for _, s := range o.Sessions {
		if s.Gateway != nil {
			h.doors[s.SenderID] = NewPipes()
		}
	}
	gone, leave := context.WithCancel(context.Background())
	h.gone, h.leave = gone, leave
	h.served.Go(func() error {
		defer close(h.over)
		defer leave()
		err := daemon.Serve(ctx, h.config(), daemon.Options{
			Log: o.Log, Load: func() (config.Config, error) { return h.config(), nil }, Exit: h.exit, Make: h.makers(),
		})
		if err == nil && ctx.Err() == nil {
			err = errors.New("the host stopped unasked")
		}
		if err != nil {
			h.kill(err)
		}
		return err
	})
	select {
	case <-h.up:
		return h, nil
	case <-h.over:
		end()
		return nil, h.served.Wait()
	}
}

// DialGateway connects a device at an address with the gateway of a session. It waits until
// there is one.
func (h *Host) DialGateway(ctx context.Context, sender string, from net.Addr) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.gone, cancel)()
	return h.doors[sender].dialFrom(ctx, from, h.Link.opened)
}

// config is what config.hcl would say.
func (h *Host) config() config.Config {
	h.mu.Lock()
	defer h.mu.Unlock()
	cfg := config.Config{DataDir: h.o.Disk.dir(), Sessions: slices.Clone(h.o.Sessions), ConnectRate: 1e6, Plugins: map[string]config.Plugin{}, Ledger: config.Ledger{DiskSoft: 1 << 30}}
	for _, p := range h.o.Plugins {
		cfg.Plugins[p.Name] = p.config()
	}
	return cfg
}

// makers make the parts as the daemon wants them, on this host's disk and network.
func (h *Host) makers() daemon.Makers {
	return daemon.Makers{
		Ledger: func(ctx context.Context, o ledger.Options) (_ *ledger.Ledger, err error) {
			o.Light, o.Uptime, o.Statfs, o.Tracer = true, nil, h.o.Disk.statfs, h.o.Tracer
			o.Commit = func(commit func() error) error { return h.o.Disk.commit(h.dead, commit) }
			poison := o.Poison
			o.Poison = func(err error) {
				h.mu.Lock()
				h.poisoned = err
				h.mu.Unlock()
				poison(err)
			}
			if h.Ledger, err = ledger.Open(ctx, o); err == nil {
				h.found, h.opened = h.Ledger.Downstreams(0, 1<<20), time.Now()
			}
			return h.Ledger, err
		},
		Dispatch: func(o dispatch.Options) *dispatch.Dispatcher {
			o.Tracer = h.o.Tracer
			if h.o.Dispatch != nil {
				h.o.Dispatch(&o)
			}
			h.Dispatch = dispatch.New(o)
			return h.Dispatch
		},
		Outbox: func(o outbox.Options) *outbox.Outbox {
			o.Tracer = h.o.Tracer
			if h.o.Outbox != nil {
				h.o.Outbox(&o)
			}
			return outbox.New(o)
		},
		CCS: func(o ccs.Options) *ccs.Session {
			o.TLS, o.Dial = nil, h.Link.dial
			if h.o.Session != nil {
				h.o.Session(h, &o)
			}
			s := ccs.New(o)
			h.runs(func() any { return s.Status() })
			return s
		},
		FCMv1: func(o fcmv1.Options) *fcmv1.Session {
			o.TLS, o.Dial = nil, h.Link.dialFCM
			if h.o.FCMv1 != nil {
				h.o.FCMv1(h, &o)
			}
			s := fcmv1.New(o)
			h.runs(func() any { return s.Status() })
			return s
		},
		Gateway: func(o gateway.Options) *gateway.Gateway {
			o.Listener = h.doors[o.SenderID].shared()
			if h.o.Gateway != nil {
				h.o.Gateway(h, &o)
			}
			g := gateway.New(o)
			h.runs(func() any { return g.Status() })
			return g
		},
		Plugins: func(o pluginhost.Options) (*pluginhost.Host, func(context.Context) error) {
			h.to, h.names = o.Dispatcher, func() []string { return o.Sessions().Names() }
			host := pluginhost.New(o)
			if h.o.Answers {
				over, end := context.WithCancel(context.Background())
				end()
				if err := host.Run(over); err != nil { // from now on it answers that there are none
					o.Log.Error("run a pluginhost without plugins", "err", err)
				}
			}
			return host, func(ctx context.Context) error { return h.runPlugins(ctx, o.Plugin) }
		},
		API: func(o admin.Options) (daemon.API, error) {
			h.API, h.Metrics = o.Functions, o.Metrics
			return noAPI{h.hungUp}, nil
		},
	}
}

// runs notes a session, by what says how it stands.
func (h *Host) runs(status func() any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.statuses = append(h.statuses, status)
}

// noAPI listens nowhere: a socket would hold the bubble's clock. Its end ends the
// calls that are under way.
type noAPI struct{ hungUp chan struct{} }

func (noAPI) Addr() string { return "" }

func (noAPI) Record(string, string, error) {}

func (noAPI) Certificate(time.Time) (until time.Time, warnings []string) { return until, nil }

func (a noAPI) Run(ctx context.Context) error {
	<-ctx.Done()
	close(a.hungUp)
	return nil
}

// exit is what ends the process after a failed commit.
func (h *Host) exit(int) {
	h.mu.Lock()
	why := h.poisoned
	h.mu.Unlock()
	h.kill(why)
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
		processes := slices.Collect(maps.Keys(h.processes))
		h.mu.Unlock()
		close(h.dead)
		h.leave()
		h.Link.sever()
		for _, p := range processes {
			p.exit()
		}
		h.end()
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
		h.release()
		h.served.Wait() //nolint:errcheck // Err has it
		if keep {
			h.endErr = errors.Join(h.endErr, os.RemoveAll(old))
		}
	})
	return h.endErr
}

// Stop ends the host as SIGTERM does, and returns the first thing that was not
// as it should be.
func (h *Host) Stop() error {
	h.release()
	h.end()
	err := h.served.Wait()
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

// Reconfigure has config.hcl say other sessions, and the host read it again. The
// error says why it goes on with those that it has.
func (h *Host) Reconfigure(ctx context.Context, sessions []config.Session, force bool) error {
	h.mu.Lock()
	h.o.Sessions = sessions
	h.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered := make(chan struct{})
	defer close(answered)
	go func() { //house:go ends with this call
		select {
		case <-h.hungUp:
			cancel(ErrStopped)
		case <-answered:
		}
	}()
	_, err := h.API.Reload(ctx, admin.ReloadOrder{Force: force})
	return cmp.Or(context.Cause(ctx), err)
}

// SessionNames are what plugins are told of the sessions.
func (h *Host) SessionNames() []string { return h.names() }

// Plugins are the names of the plugins, sorted.
func (h *Host) Plugins() []string {
	var names []string
	for _, p := range h.o.Plugins {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}
