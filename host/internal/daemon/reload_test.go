package daemon

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/admin"
	"balhost/host/internal/config"
)

// A file of the config that lies where nothing answers costs a reload and one
// goroutine: the next reload is told at once, what else the host does goes on, and
// when the file answers so does reload.
func TestReloadOfFilesThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := make(chan struct{})
		var loads atomic.Int64
		h := &host{
			o: Options{Log: hclog.NewNullLogger(), Load: func() (config.Config, error) {
				loads.Add(1)
				<-dead
				return config.Config{Admin: config.Admin{Listen: "elsewhere"}}, nil
			}},
			supervisor: newSupervisor(hclog.NewNullLogger()), sessions: newFleet(prometheus.NewRegistry(), nil),
			reloading: make(chan struct{}, 1), files: make(chan struct{}, 1),
		}
		reload := func() (string, time.Duration) {
			began := time.Now()
			_, err := h.reload(context.Background(), admin.ReloadOrder{})
			if err == nil {
				t.Fatal("reloaded")
			}
			return err.Error(), time.Since(began)
		}
		if said, took := reload(); took != reloadTime || !strings.Contains(said, "does a mount not answer") {
			t.Errorf("after %v: %s", took, said)
		}
		for range 3 {
			if said, took := reload(); took != 0 || !strings.Contains(said, "an earlier reload is running") {
				t.Errorf("after %v: %s", took, said)
			}
		}
		if n := loads.Load(); n != 1 {
			t.Errorf("the files were asked for %d times", n)
		}
		if h.config().Admin.Listen != "" {
			t.Error("what came too late is in force")
		}
		close(dead)
		synctest.Wait()
		if said, _ := reload(); !strings.Contains(said, "needs a restart") {
			t.Errorf("when the files answer: %s", said)
		}

		h.reloading <- struct{}{} // one that does something else for long
		if said, took := reload(); took != reloadTime || !strings.Contains(said, "another reload is running") {
			t.Errorf("after %v: %s", took, said)
		}
	})
}
