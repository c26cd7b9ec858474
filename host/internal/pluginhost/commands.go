package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// Reload looks at the plugins folder now. What waits for another try is started now, and
// its names are returned.
// With force, a plugin starts anew even if its file is unchanged, content that was
// refused for good is tried again, and a rollback ends.
// name "" means all plugins. The new process takes over as after a change of the
// file, after Reload has returned. An unknown name is an error.
func (h *Host) Reload(ctx context.Context, name string, force bool) (again []string, err error) {
	plugins, err := h.named(name)
	if err != nil {
		return nil, err
	}
	h.rescan()
	if !force {
		return h.again(ctx, plugins)
	}
	for _, s := range plugins {
		if err := s.ask(ctx, s.force); err != nil && name != "" {
			return nil, err
		}
	}
	return nil, nil
}

// again has those that wait for another try started now, and returns their names.
func (h *Host) again(ctx context.Context, plugins []*supervisor) (names []string, err error) {
	for _, s := range plugins {
		err := s.ask(ctx, func() error {
			if s.policy.Again() {
				s.log.Info("plugin that did not start is tried again now")
				names = append(names, s.name)
			}
			return nil
		})
		if err != nil && !errors.Is(err, errOver) {
			return names, err
		}
	}
	return names, nil
}

// Rollback goes back to the proven content that ran before, until the file
// changes. It returns when the content is found, before it serves; the error
// says why there is none.
func (h *Host) Rollback(ctx context.Context, name string) error {
	plugins, err := h.named(name)
	if err != nil {
		return err
	}
	if name == "" {
		return errors.New("roll back which plugin? give its name")
	}
	return plugins[0].ask(ctx, plugins[0].rollback)
}

// Change is a plugin whose options have changed.
type Change struct {
	Plugin string
	Effect Effect
}

// Effect says when changed options count.
type Effect int

// The effects of a change.
const (
	Restarts Effect = iota // from now on: it is replaced, like a plugin whose file has changed
	Retried                // it had not started in time before, and is tried again now
	NextTime               // from the next start of a process on; what runs goes on
)

// Configure puts other options in force, and returns which plugins' have changed. A config
// that is refused leaves the old process, and its options.
func (h *Host) Configure(ctx context.Context, options func(name string) PluginOptions) (changed []Change) {
	h.mu.Lock()
	h.o.Plugin = options
	h.mu.Unlock()
	plugins, _ := h.named("") // no error for all
	for _, s := range plugins {
		o := options(s.name).filled()
		err := s.ask(ctx, func() error {
			if effect, is := s.configure(o); is {
				changed = append(changed, Change{s.name, effect})
			}
			return nil
		})
		if err != nil && !errors.Is(err, errOver) {
			h.log.Warn("plugin's options are not changed", "plugin", s.name, "err", err)
		}
	}
	return changed
}

// configure puts other options in force, if they are others.
func (s *supervisor) configure(o PluginOptions) (effect Effect, changed bool) {
	slow := s.options[s.policy.Options.Print].StartTimeout
	now := s.know(o)
	switch {
	case now != s.policy.Options:
		s.policy.Configure(s.facts(), now)
		return Restarts, true
	case slow == o.StartTimeout:
		return 0, false
	case s.policy.Again():
		return Retried, true
	}
	return NextTime, true
}

// SetLogLevel changes how much a plugin logs, until the host's end: trace, debug,
// info, warn, error, or "" for the host's own level, also after that has changed.
// name "" means all plugins.
func (h *Host) SetLogLevel(name, level string) error {
	l := hclog.LevelFromString(level)
	if level != "" && l == hclog.NoLevel {
		return fmt.Errorf("log level %q: want trace, debug, info, warn or error", level)
	}
	plugins, err := h.named(name)
	for _, s := range plugins {
		s.lines.Set(l)
		s.box.put(func() {
			for _, l := range s.lives {
				if l.known {
					l.session.Send(&wire.HostFrame{LogLevel: s.lines.Level()})
				}
			}
		})
	}
	return err
}

// toldSessions are the host's sessions as plugins know them.
type toldSessions struct{ names, transports, former []string }

func (h *Host) toldSessions() (now toldSessions) {
	for _, s := range h.o.Sessions() {
		now.names = append(now.names, s.Name)
		now.transports = append(now.transports, string(cmp.Or(s.Transport, message.CCS)))
		now.former = append(now.former, s.Former...)
	}
	return now
}

// SessionsChanged tells the plugins that run of the names and transports that the host's
// sessions have now.
func (h *Host) SessionsChanged() {
	plugins, _ := h.named("") // no error for all
	for _, s := range plugins {
		s.box.put(func() {
			for p, l := range s.lives {
				if p.Ready() {
					s.tellSessions(l)
				}
			}
		})
	}
}

// tellSessions tells a process that runs, unless it knows.
func (s *supervisor) tellSessions(l *life) {
	now, was := s.host.toldSessions(), l.sessions
	if now.names == nil || slices.Equal(was.names, now.names) && slices.Equal(was.transports, now.transports) {
		return
	}
	l.sessions = now
	l.session.Send(&wire.HostFrame{Sessions: now.names, Transports: now.transports})
}

// named finds one plugin, or with "" all.
func (h *Host) named(name string) ([]*supervisor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := slices.Sorted(maps.Keys(h.plugins))
	var found []*supervisor
	for _, n := range names {
		if name == "" || n == name {
			found = append(found, h.plugins[n])
		}
	}
	if name != "" && found == nil {
		return nil, fmt.Errorf("there is no plugin %q; there are: %s", name, strings.Join(names, ", "))
	}
	return found, nil
}

// errOver: the plugin's file was removed, or the host is stopping.
var errOver = errors.New("it has been stopped")

// ask has run do something, and waits for it.
func (s *supervisor) ask(ctx context.Context, do func() error) error {
	answer := make(chan error, 1)
	s.box.put(func() { answer <- do() })
	select {
	case err := <-answer:
		return err
	case <-s.over:
		return fmt.Errorf("plugin %q: %w", s.name, errOver)
	case <-ctx.Done():
		return fmt.Errorf("plugin %q does not answer: %w", s.name, context.Cause(ctx))
	}
}

// force starts anew what the file holds, whatever became of it before.
func (s *supervisor) force() error {
	if s.file == nil {
		return fmt.Errorf("plugin %q: there is no file of it in %s to start", s.name, s.host.o.Dir)
	}
	s.policy.Reload()
	return nil
}

// rollback goes back to what was proven before what serves now.
func (s *supervisor) rollback() error {
	to, err := s.policy.RollBack(s.facts())
	if err == nil {
		s.log.Warn("plugin is rolled back by hand, until its file changes", "sha256", to)
		s.remember()
	}
	return err
}
