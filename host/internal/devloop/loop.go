// Package devloop is the loop of a plugin's author. It builds a plugin from its source,
// puts it into the plugins folder, and does both again when a file of the source is
// saved. When the build fails, what is in the folder stays. The package knows no host:
// a host notices the new file by itself. One goroutine runs each loop. Start at
// [Loop.Run].
package devloop

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"balhost/sdk/logs"
)

// Options are what a [Loop] needs.
type Options struct {
	Source  Source
	Plugins string            // the plugins folder, which is there
	Work    string            // a folder for what go build makes; it is made
	Debug   bool              // build for a debugger
	Tell    func(line string) // gets what happens, a line at a time; it must not block
}

// Loop works on one plugin.
type Loop struct {
	o     Options
	looks print // of the source when it was looked at last
	holds print // of the source that was built last, or could not be
}

// New makes a loop. Run runs it.
func New(o Options) *Loop { return &Loop{o: o} }

// Run builds the plugin at once, and again after each save, until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	watch := newWatch(l.o.Source)
	defer watch.close()
	missing := ""
	for {
		changed, err := l.changed()
		switch {
		case err != nil && err.Error() != missing: // it may come back
			missing = err.Error()
			l.tell("can't be read, and is looked at again: %v", err)
		case changed:
			missing = ""
			l.make(ctx)
		}
		if !watch.saved(ctx) {
			return nil
		}
	}
}

// changed reports whether the source is another one than that which was built last.
func (l *Loop) changed() (bool, error) {
	looks, err := l.o.Source.looks()
	if err != nil || looks == l.looks {
		return false, err
	}
	holds, err := l.o.Source.holds()
	if err != nil {
		return false, err
	}
	changed := holds != l.holds
	l.looks, l.holds = looks, holds
	return changed, nil
}

// make builds the plugin and puts it into the plugins folder.
func (l *Loop) make(ctx context.Context) {
	from, err := l.build(ctx)
	if err == nil {
		err = put(from, l.o.Plugins, l.o.Source.Name)
	}
	var failed buildError
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &failed):
		l.tell("the build failed (%s): what runs goes on, and the next save tries again", failed.why)
		for line := range strings.Lines(failed.output) {
			l.o.Tell("    " + strings.TrimRight(line, "\n"))
		}
	case err != nil:
		l.tell("%v: what runs goes on, and the next save tries again", err)
	}
}

// build makes the plugin, and returns where it is.
func (l *Loop) build(ctx context.Context) (path string, err error) {
	s, began := l.o.Source, time.Now()
	if s.way == asItIs {
		l.tell("into the plugins folder")
		return s.Path, nil
	}
	l.tell("building")
	out := filepath.Join(s.Path, "out", s.Name)
	if s.way == byGo {
		out = filepath.Join(l.o.Work, s.Name)
	}
	if err := run(ctx, s.command(out, l.o.Debug)); err != nil {
		return "", err
	}
	if _, err := kindOf(out); err != nil {
		return "", fmt.Errorf("its build must leave the plugin at out/%s, an executable file or a folder with one named plugin: %w", s.Name, err)
	}
	l.tell("built in %s", logs.Duration(time.Since(began)))
	return out, nil
}

func (l *Loop) tell(format string, args ...any) {
	l.o.Tell(l.o.Source.Name + ": " + fmt.Sprintf(format, args...))
}
