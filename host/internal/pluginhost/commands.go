package pluginhost

import (
	"context"
	"errors"
)

// Reload looks at the plugins folder now. With force, a plugin starts anew even
// if its file is unchanged, refused content is tried again, and a rollback ends.
// name "" means all plugins. The new process takes over as after a change of the
// file, after Reload has returned. An unknown name is an error.
func (h *Host) Reload(ctx context.Context, name string, force bool) error {
	return errors.ErrUnsupported
}

// Rollback goes back to the proven content that ran before, until the file
// changes. It returns when the content is found, before it serves; the error
// says why there is none.
func (h *Host) Rollback(ctx context.Context, name string) error {
	return errors.ErrUnsupported
}

// Configure puts other options in force, and returns the names of the plugins
// whose options have changed. They are replaced like plugins whose file has
// changed: a config that is refused leaves the old process, and its options.
func (h *Host) Configure(ctx context.Context, options func(name string) PluginOptions) []string {
	return nil
}

// SetLogLevel changes how much a plugin logs, until the host's end: trace, debug,
// info, warn, error, or "" for the host's own level.
func (h *Host) SetLogLevel(name, level string) error {
	return errors.ErrUnsupported
}
