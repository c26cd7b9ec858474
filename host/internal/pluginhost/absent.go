package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"balhost/sdk/message"
)

// Absent returns an error while a plugin is not gone: something has its name in the plugins
// folder, or it runs. The error says what to do.
func (h *Host) Absent(ctx context.Context, name string) error {
	if err := message.CheckPluginName(name); err != nil {
		return fmt.Errorf("%.64q is no plugin's name: %w", name, err)
	}
	path := filepath.Join(h.o.Dir, name)
	there, err := h.lies(ctx, path)
	switch {
	case err != nil:
		return fmt.Errorf("nobody knows whether plugin %s has a file: %w", name, err)
	case there:
		return fmt.Errorf("plugin %s is not gone: its file is %s. Remove it from the plugins folder first, and wait until balhost plugins has no process of it", name, path)
	}
	h.mu.Lock()
	s := h.plugins[name]
	keep := h.o.Plugin(name).KeepRemoved
	h.mu.Unlock()
	switch {
	case s == nil:
		return nil
	case keep:
		return fmt.Errorf(`plugin %s is not gone: it has no file any more, but runs on, as on_remove = "keep" in its block in config.hcl says. Take that line out, then: balhost reload`, name)
	}
	return fmt.Errorf("plugin %s is not gone: its process is being stopped. Forget it when balhost plugins has no process of it any more", name)
}

// lies reports whether there is anything at a path in the plugins folder. It waits only for a
// while, since the file system may not answer.
func (h *Host) lies(ctx context.Context, path string) (there bool, err error) {
	type answer struct {
		there bool
		err   error
	}
	seen := make(chan answer, 1)
	h.aside.Go(func() {
		_, err := os.Lstat(path)
		switch {
		case err == nil:
			seen <- answer{there: true}
		case errors.Is(err, fs.ErrNotExist):
			_, err = os.Stat(h.o.Dir)
			seen <- answer{err: err}
		default:
			seen <- answer{err: err}
		}
	})
	select {
	case a := <-seen:
		return a.there, a.err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-time.After(h.limits.patience):
		return false, fmt.Errorf("the file system of %s does not answer", h.o.Dir)
	}
}
