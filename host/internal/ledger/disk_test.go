package ledger

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/entry"
)

// TestUnknownSpaceIsNoFigure: while the disk can't be looked at, metrics show
// neither nothing nor what was free before, and the ledger goes on. // P10
func TestUnknownSpaceIsNoFigure(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		metrics := prometheus.NewRegistry()
		l := open(t, dir, func(o *Options) {
			o.Metrics = metrics
			o.Statfs = func(string) (Space, error) {
				if broken.Load() {
					return Space{}, errors.New("stale file handle")
				}
				return plenty("")
			}
		})
		free := func() float64 {
			time.Sleep(2 * time.Second)
			all, err := metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range all {
				if m.GetName() == "balhost_ledger_disk_free_bytes" {
					return m.GetMetric()[0].GetGauge().GetValue()
				}
			}
			t.Fatal("no figure at all")
			return 0
		}
		if got := free(); got != 1<<50 {
			t.Errorf("%v free", got)
		}
		broken.Store(true)
		if got := free(); !math.IsNaN(got) {
			t.Errorf("%v free, and nobody knows", got)
		}
		if _, err := l.Space(); err == nil {
			t.Error("Space knows")
		}
		mustAccept(t, l, "tokA", "1", `{}`)
		broken.Store(false)
		if got := free(); got != 1<<50 {
			t.Errorf("%v free", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A store whose folder is removed, moved or replaced ends: what is acked
// afterwards would lie in files that nobody finds again. // P1 P10
func TestFolderIsGone(t *testing.T) {
	manifest := func(dir string) string { return filepath.Join(dir, "db", badger.ManifestFilename) }
	for name, take := range map[string]func(dir string) error{
		"badger's": func(dir string) error { return os.Rename(filepath.Join(dir, "db"), dir+".away") },
		"its list": func(dir string) error { return os.Rename(manifest(dir), dir+".away") },
		"all":      func(dir string) error { return os.Rename(dir, dir+".away") },
		"replaced": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "db"), dir+".away"), os.Mkdir(filepath.Join(dir, "db"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ledger")
			synctest.Test(t, func(t *testing.T) {
				var ended atomic.Pointer[error]
				l := open(t, dir, func(o *Options) { o.Poison = func(err error) { ended.Store(&err) } })
				mustAccept(t, l, "tokA", "1", `{}`)
				if err := take(dir); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if err := ended.Load(); err == nil {
					t.Error("the ledger goes on")
				} else if !strings.Contains((*err).Error(), "while it was in use") {
					t.Errorf("the ledger ends by %v", *err)
				}
				if err := accept(t, l, "tokA", "2", `{}`); !errors.Is(err, entry.ErrClosed) {
					t.Errorf("an upstream that nobody will find: %v", err)
				}
				// Badger wants to write its files where they were, or it never ends.
				back := filepath.Join(dir, "db")
				switch name {
				case "all":
					back = dir
				case "its list":
					back = manifest(dir)
				}
				if err := errors.Join(os.RemoveAll(back), os.Rename(dir+".away", back)); err != nil {
					t.Fatal(err)
				}
				if err := l.Close(); err == nil {
					t.Error("Close hides the failure")
				}
			})
		})
	}
}
