package ledger

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
