package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
	"balhost/host/internal/entry"
	"balhost/host/internal/pluginhost"

	"github.com/hashicorp/go-hclog"
)

func (h *host) config() config.Config {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cfg
}

// follow makes a config the one in force.
func (h *host) follow(cfg config.Config) {
	var named entry.Senders
	for _, s := range cfg.Sessions {
		named = append(named, entry.Sender{Name: s.Name, ID: s.SenderID, Transport: s.Transport(), Gateway: s.Gateway != nil})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cfg, h.named = cfg, named.Succeed(h.named)
}

// labels are the sessions of the config in force.
func (h *host) labels() entry.Senders {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.named
}

func (h *host) pluginOptions(name string) pluginhost.PluginOptions {
	return PluginOptions(h.config().Plugin(name))
}

// known wraps an action on a plugin: an unknown plugin name is an error.
func (h *host) known(do func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		if !slices.ContainsFunc(h.status().Plugins, func(p admin.Plugin) bool { return p.Name == name }) {
			return entry.NoSuch("there is no plugin %q; balhost plugins lists them", name)
		}
		return do(ctx, name)
	}
}

func (h *host) logLevel(ctx context.Context, name, level string) error {
	return h.known(func(_ context.Context, name string) error {
		if err := h.plugins.SetLogLevel(name, level); err != nil {
			return admin.Refusal{Err: err}
		}
		return nil
	})(ctx, name)
}

// followHangups reloads at each SIGHUP.
func (h *host) followHangups(ctx context.Context, api API) error {
	for {
		select {
		case <-h.o.Hangup:
			did, err := h.reload(ctx, admin.ReloadOrder{})
			api.Record("signal", "SIGHUP: reloaded: "+strings.Join(did.Changed, ", "), err)
		case <-ctx.Done():
			return nil
		}
	}
}

// reload applies the config file again, and logs what came of it.
func (h *host) reload(ctx context.Context, order admin.ReloadOrder) (did admin.Reloaded, err error) {
	over := h.supervisor.reloading()
	did, err = h.reloadOnce(ctx, order)
	over()
	switch {
	case err == nil && len(did.Changed) == 0:
		h.o.Log.Info("reloaded: nothing has changed")
	case err == nil:
		h.o.Log.Info("reloaded", "changed", did.Changed)
	case len(did.Changed) > 0: // the config is in force; a later step failed
		h.o.Log.Error("reload failed in part", "changed", did.Changed, "err", err)
	default:
		h.o.Log.Error("reload refused, nothing has changed", "err", err)
	}
	return did, err
}

// reloadOnce applies everything, or nothing and returns the reason. Then it looks at the
// plugins folder.
func (h *host) reloadOnce(ctx context.Context, order admin.ReloadOrder) (did admin.Reloaded, err error) {
	late := time.NewTimer(reloadTime)
	defer late.Stop()
	select {
	case h.reloading <- struct{}{}:
		defer func() { <-h.reloading }()
	case <-late.C:
		return did, admin.Refusal{Err: errors.New("another reload is running: try again when it has ended")}
	case <-ctx.Done():
		return did, ctx.Err()
	}
	if order.Plugin == "" {
		did.Changed, err = h.reconfigure(ctx, order.Force)
		if h.refused.note(err); err != nil {
			return admin.Reloaded{}, err
		}
	} else if _, err := h.read(ctx); err != nil {
		h.o.Log.Warn("the config file was not applied; the old config stays in force", "err", err)
	}
	again, err := h.plugins.Reload(ctx, order.Plugin, order.Force)
	for _, name := range again {
		did.Changed = append(did.Changed, fmt.Sprintf("plugin %q, which did not start, is tried again now", name))
	}
	if err != nil || !order.Force {
		return did, err
	}
	who := "every plugin"
	if order.Plugin != "" {
		who = fmt.Sprintf("plugin %q", order.Plugin)
	}
	did.Changed = append(did.Changed, who+" is restarted, also content that was refused or rolled back before")
	return did, nil
}

// reloadTime is how long a reload waits for another reload, and for the files that the
// config names: a file may lie on a mount that does not answer.
const reloadTime = filesTime

// reading is a config that was read and can be applied.
type reading struct {
	config   config.Config
	sessions change
}

// read reads the config file and all files that it names. A file that doesn't answer
// holds one goroutine and makes the next reload wait, but nothing else.
func (h *host) read(ctx context.Context) (reading, error) {
	select {
	case h.files <- struct{}{}:
	default:
		return reading{}, admin.Refusal{Err: errors.New("an earlier reload is running: it still waits for config.hcl or for a file that it names; does a mount not answer?")}
	}
	var r reading
	done := make(chan error, 1)
	go func() { //house:go ends when the files answer; at most one waits
		got, err := h.prepare()
		<-h.files
		if err == nil {
			r = got
		}
		done <- err
	}()
	late := time.NewTimer(reloadTime)
	defer late.Stop()
	select {
	case err := <-done:
		if err != nil {
			return reading{}, admin.Refusal{Err: err, Config: true}
		}
		return r, nil
	case <-late.C:
		return reading{}, admin.Refusal{Err: fmt.Errorf("config.hcl and the files that it names could not be read within %s: does a mount not answer? Nothing was applied", reloadTime)}
	case <-ctx.Done():
		return reading{}, ctx.Err()
	}
}

// prepare reads and checks. It changes nothing.
func (h *host) prepare() (r reading, err error) {
	if r.config, err = h.o.Load(); err != nil {
		return r, err
	}
	if err := fixed(h.config(), r.config); err != nil {
		return r, err
	}
	r.sessions, err = h.sessions.prepare(r.config.Sessions)
	return r, err
}

// reconfigure applies the config file, and returns what changed. With force it doesn't
// log in the changed sessions as a test first.
func (h *host) reconfigure(ctx context.Context, force bool) (changed []string, err error) {
	r, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	before, now, sessions := h.config(), r.config, r.sessions
	if !force {
		err = h.sessions.open(ctx, sessions)
	}
	if err == nil {
		err = h.sessions.listen(ctx, sessions)
	}
	if err != nil {
		return nil, admin.Refusal{Err: fmt.Errorf("%w; nothing was applied", err)}
	}

	// From here on nothing can be refused.
	h.follow(now)
	if before.Log.Level != now.Log.Level {
		h.o.Log.SetLevel(hclog.LevelFromString(now.Log.Level))
		for _, p := range h.plugins.Status() {
			if err := h.plugins.SetLogLevel(p.Name, ""); err != nil {
				h.o.Log.Warn("plugin keeps its log level", "plugin", p.Name, "err", err)
			}
		}
		changed = append(changed, "log level is "+now.Log.Level)
	}
	if before.ConnectRate != now.ConnectRate {
		h.pace(now.ConnectRate)
		changed = append(changed, fmt.Sprintf("connect_rate is %d", now.ConnectRate))
	}
	changed = append(changed, tokensChanged(before.Admin, now.Admin)...)
	changed = append(changed, h.sessionsChanged(before.Sessions, now.Sessions, sessions)...)
	if err := h.sessions.apply(ctx, sessions); err != nil {
		return changed, err
	}
	changed = append(changed, h.hurry()...)
	h.plugins.SessionsChanged()
	for _, c := range h.plugins.Configure(ctx, h.pluginOptions) {
		changed = append(changed, fmt.Sprintf("plugin %q "+effects[c.Effect], c.Plugin))
	}
	return changed, nil
}

// effects say what a plugin's changed block brings.
var effects = map[pluginhost.Effect]string{
	pluginhost.Restarts: "is started with its new block; balhost plugins shows whether it works",
	pluginhost.Retried:  "did not start in time, and is tried again now with its new start_timeout",
	pluginhost.NextTime: "has a new start_timeout, which counts from its next start on; what runs goes on",
}

// fixed is an error for changed keys that a running host can't change.
func fixed(before, now config.Config) error {
	var problems []error
	for _, key := range []struct {
		name        string
		before, now any
	}{
		{"data_dir", before.DataDir, now.DataDir},
		{"plugins.dir", before.PluginsDir, now.PluginsDir},
		{"plugins.max_size", before.PluginBytes, now.PluginBytes},
		{"plugins.max_entries", before.PluginEntries, now.PluginEntries},
		{"ledger", before.Ledger, now.Ledger},
		{"admin.listen", before.Admin.Listen, now.Admin.Listen},
		{"admin.tls", adminFiles(before.Admin), adminFiles(now.Admin)},
		{"log.format", before.Log.Format, now.Log.Format},
		{"tracing", before.Tracing, now.Tracing},
	} {
		if !reflect.DeepEqual(key.before, key.now) {
			problems = append(problems, fmt.Errorf("%s has changed, which needs a restart of the host; nothing was applied", key.name))
		}
	}
	return errors.Join(problems...)
}

// refusedReload keeps why the config file was not applied. The status shows it,
// because the sender of a SIGHUP gets no answer.
type refusedReload struct {
	mu  sync.Mutex // guards the fields below
	err error
	at  time.Time
}

// note records the result of a reload.
func (r *refusedReload) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.at = err, time.Now()
}

// warning is shown by the status and by /readyz.
func (r *refusedReload) warning() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		return nil
	}
	why, _, _ := strings.Cut(r.err.Error(), "\n")
	return []string{fmt.Sprintf("the last reload was refused %s ago, so the old config is in force: %s", time.Since(r.at).Round(time.Second), why)}
}
