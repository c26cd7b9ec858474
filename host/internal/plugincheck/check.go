package plugincheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/pluginhost"
)

// check is one check of one plugin.
type check struct {
	o      Options
	temp   string // its data folder
	solo   *pluginhost.Solo
	failed map[string]bool // rows

	begin    *beginning         // of the first process; nil: not started yet
	main     *life              // the process for all rows that need none of their own; nil: none
	flaws    flaws              // of results, noticed while other rows are checked
	seen     samples            // what the plugin did with the samples
	held     *holding           // a delivery whose handler waits; nil: none
	stuck    bool               // the plugin does nothing else while a handler waits
	loaded   *loaded            // what came of the load; nil: it was not made yet
	drained  *drained           // how the process ended that was drained; nil: none was
	spare    []*life            // processes that rows have left to those that need their own
	departed map[string]finding // what came of the host going away, by row; nil: it has not
}

// Rows are the names of all rows, with what each is about.
func Rows() (all [][2]string) {
	for _, r := range rows {
		all = append(all, [2]string{r.name, r.about})
	}
	return all
}

// Run checks a plugin. An error means that the check itself can't be made.
func Run(ctx context.Context, o Options) (report Report, err error) {
	began := time.Now()
	if err := known(o.Only); err != nil {
		return report, err
	}
	c := &check{o: o.filled(), failed: map[string]bool{}, seen: samples{done: map[int]bool{}}}
	if c.temp, err = os.MkdirTemp("", "balhost-check-"); err != nil {
		return report, fmt.Errorf("make a folder for the check: %w", err)
	}
	defer func() { err = errors.Join(err, removeAll(c.temp)) }()
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return report, fmt.Errorf("find %s: %w", o.Path, err)
	}
	report.Plugin, report.Rows = filepath.Base(path), []Row{}
	if _, err := os.Lstat(path); err != nil {
		return report, fmt.Errorf("look at the plugin: %w", err)
	}
	c.o.Path = path
	vetted := c.vet()
	if c.solo != nil {
		defer c.solo.Close()
		report.SHA256 = c.solo.SHA256
	}
	defer c.end()
	for _, r := range rows {
		if len(o.Only) > 0 && !slices.Contains(o.Only, r.name) {
			continue
		}
		row := c.row(ctx, r, vetted)
		if ctx.Err() != nil {
			return report, context.Cause(ctx) // the row is of a process that was ended
		}
		report.Rows = append(report.Rows, row)
		if o.Tell != nil {
			o.Tell(row)
		}
	}
	if c.begin != nil && c.begin.manifest != nil {
		report.Version = c.begin.manifest.GetVersion()
	}
	report.Took = round(time.Since(began))
	return report, nil
}

// known is an error for a row that there isn't.
func known(only []string) error {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	for _, name := range only {
		if !slices.Contains(names, name) {
			return UnknownRow{Row: name, Rows: names}
		}
	}
	return nil
}

// UnknownRow is the error for a row that there isn't.
type UnknownRow struct {
	Row  string
	Rows []string
}

func (e UnknownRow) Error() string {
	return fmt.Sprintf("there is no row %q; the rows are %s", e.Row, strings.Join(e.Rows, ", "))
}

// row checks one row.
func (c *check) row(ctx context.Context, r row, vetted finding) Row {
	began := time.Now()
	var f finding
	switch {
	case r.name == "file":
		f = vetted
	case c.solo == nil:
		f = unknown("its file is not taken")
	default:
		f = r.check(c, ctx)
	}
	if f.verdict == Unknown && c.begin != nil && c.begin.failed != nil && c.begin.row() != "" {
		f = unknown("the plugin does not start; the row %s says why", c.begin.row())
	}
	c.failed[r.name] = f.verdict == Fails
	return f.row(r.name, time.Since(began))
}

// vet has the file vetted and staged as a host does it.
func (c *check) vet() finding {
	o := pluginhost.Options{
		Bounds: c.o.Bounds, Log: hclog.NewNullLogger(),
		Plugin: func(string) pluginhost.PluginOptions { return c.o.Plugin },
	}
	solo, err := pluginhost.OpenSolo(c.o.Path, c.temp, o)
	if err != nil {
		return fails("§10: a plugin is an executable file, or a folder with an executable file named plugin; do what stands beside this row", "%v", err)
	}
	c.solo = solo
	return ok("sha256 %s", solo.SHA256)
}

// end ends what still runs.
func (c *check) end() {
	for _, l := range append(c.spare, c.main) {
		if l != nil {
			l.kill()
		}
	}
}

// removeAll removes a folder, of which a staged folder can't be written to.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) // RemoveAll says what it can't do
		}
		return nil
	})
	return os.RemoveAll(dir)
}
