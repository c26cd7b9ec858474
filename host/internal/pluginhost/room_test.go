package pluginhost

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"balhost/host/internal/pluginhost/artefact"
)

// P10: staging leaves the ledger its room. That is no fault of the content, which
// is taken when there is room again.
func TestNoRoomToStage(t *testing.T) {
	b := newBench(t)
	var free atomic.Int64
	free.Store(1<<30 + 1)
	b.host.o.DiskSoft = 1 << 30
	b.host.yard.Free = func(dir string) (int64, error) {
		if dir != b.data {
			t.Errorf("the room of %s was looked for", dir)
		}
		return free.Load(), nil
	}
	b.put("echo", "")
	b.run()
	b.event("settled", 1)
	s := b.status("echo")
	if want := "the disk of " + b.data + " has 1024 MiB free and must keep 1024 (ledger.disk_soft)"; !strings.Contains(s.Reason, want) || s.State == Refused {
		t.Errorf("status %+v, want the reason to have %q", s, want)
	}
	if s.Refusal != nil {
		t.Errorf("it was refused: %+v", s.Refusal)
	}
	free.Store(1 << 40)
	b.event("ready echo", 1)
}

// Run sweeps, too: also what is of a plugin that isn't there, but kept.
func TestRunSweeps(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{KeepRemoved: true} }
	left := filepath.Join(b.data, "plugins", "away", ".staging-1")
	if err := artefact.NewStore(b.data, "away").Make(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("x"), 0o500); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.event("settled", 1)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", left, err)
	}
}
