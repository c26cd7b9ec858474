package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"balhost/host/internal/config"
	"balhost/host/internal/devloop"
)

// workshop has the plugins that a person works on while dev runs.
type workshop struct {
	sources []devloop.Source
	debug   bool
	stdin   bool // what comes there is sent, also where nobody types
	crowded bool // other virtual devices send, too
}

// newWorkshop finds them.
func newWorkshop(f devFlags) (workshop, error) {
	w := workshop{debug: f.debug, stdin: f.stdin, crowded: f.devices > 0}
	for _, path := range f.plugins {
		s, err := devloop.Find(path)
		if err != nil {
			return w, usagef("--plugin %v", err)
		}
		if w.has(s.Name) {
			return w, usagef("--plugin %s: %s is there twice", path, s.Name)
		}
		w.sources = append(w.sources, s)
	}
	switch {
	case len(w.sources) > 0:
	case f.debug:
		return w, usagef("--debug: say which plugin, with --plugin")
	case f.stdin:
		return w, usagef("--stdin: say for which plugin, with --plugin")
	}
	return w, nil
}

// has reports whether a plugin is one of them.
func (w workshop) has(name string) bool {
	for _, s := range w.sources {
		if s.Name == name {
			return true
		}
	}
	return false
}

// open makes the folder that they are put into.
func (w workshop) open(cfg config.Config) error {
	if len(w.sources) == 0 {
		return nil
	}
	if err := os.MkdirAll(cfg.PluginsDir, 0o700); err != nil {
		return fmt.Errorf("make the plugins folder: %w", err)
	}
	return nil
}

// configure is the config with them in it as they are run here.
func (w workshop) configure(cfg config.Config) config.Config {
	if !w.debug {
		return cfg
	}
	plugins := map[string]config.Plugin{}
	maps.Copy(plugins, cfg.Plugins)
	for _, s := range w.sources {
		p := cfg.Plugin(s.Name)
		p.Debug = true
		plugins[s.Name] = p
	}
	cfg.Plugins = plugins
	return cfg
}

// run builds each and puts it into the plugins folder, whenever its source is saved.
func (w workshop) run(ctx context.Context, cfg config.Config, tell func(line string)) error {
	var g errgroup.Group
	for _, s := range w.sources {
		g.Go(func() error {
			return devloop.New(devloop.Options{
				Source: s, Plugins: cfg.PluginsDir, Work: filepath.Join(cfg.DataDir, "dev"), Debug: w.debug, Tell: tell,
			}).Run(ctx)
		})
	}
	return g.Wait()
}
