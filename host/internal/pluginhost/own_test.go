package pluginhost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/process"

	"github.com/prometheus/client_golang/prometheus"
)

// Whatever a person keeps in the data folder, in the host's own folders too, and
// by whatever name: a start, the removal of a plugin and the stop leave it alone. // P10
func TestTidyingLeavesWhatIsNotOurs(t *testing.T) {
	b := newBench(t)
	sum := strings.Repeat("ab", 32)
	var mine []string
	for _, name := range []string{
		"plugins/gone/notes.txt", "plugins/gone/program", "plugins/gone/.staging-9", "plugins/gone/record.json", "plugins/gone/" + sum, // no mark
		"plugins/echo/notes.txt", "plugins/echo/program", "plugins/echo/.staging-mine", "plugins/echo/abc", "plugins/echo/" + sum + ".bak", "plugins/echo/sub/x",
		"plugins/file", "plugins/.hidden/x", "run/notes.txt", "run/plugin-directory/x", "run/plugin-dir", "x/.staging-1",
	} {
		mine = append(mine, filepath.Join(b.data, name))
	}
	for _, path := range mine {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("mine"), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(b.data, "run", "plugin-dir1") // to a folder that is a person's
	if err := os.Symlink(filepath.Join(b.data, "x"), link); err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(b.data, "run", "plugin-dir2", "plugin3")
	if err := errors.Join(os.Mkdir(filepath.Dir(ours), 0o700), os.WriteFile(ours, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	there := func(when string) {
		t.Helper()
		for _, path := range mine {
			if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
				t.Errorf("%s: %s: %q, %v", when, path, text, err)
			}
		}
	}
	b.keepsRun = true
	b.proven()
	b.put("other", "") // the folder isn't empty without echo
	b.event("ready other", 1)
	there("running")
	if _, err := os.Stat(ours); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a killed host left is there: %v", err)
	}
	b.put("echo", "another")
	b.event("said echo: run", 2)
	if err := os.Remove(filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	b.event("removed echo", 1)
	there("after the plugin was removed")
	b.stop()
	there("at the end")
	if copies, _ := filepath.Glob(filepath.Join(b.data, "plugins", "echo", strings.Repeat("[0-9a-f]", 64))); len(copies) > 0 {
		t.Errorf("copies of the removed plugin are left: %v", copies)
	}
	if strings.Contains(b.log.String(), "stay") {
		t.Error("it was complained of")
	}
}

// Whatever a cleaner removes while the host runs is made again, with what is
// asked of it, before it is needed: the sockets' folder, the copies, the working
// folder, the record.
func TestRemovedWhileRunning(t *testing.T) {
	b := newBench(t)
	b.proven()
	echo := filepath.Join(b.data, "plugins", "echo")
	for i, path := range []string{process.SocketRoot(b.data), filepath.Join(echo, "work"), echo, filepath.Join(b.data, "plugins")} {
		b.poll("it to be removed", func() bool { return os.RemoveAll(path) == nil }) // it may be written to
		b.tell("echo", "kill")
		b.event("ready echo", i+2)
		for _, made := range []string{process.SocketRoot(b.data), echo} {
			if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("without %s: %s is %v, %v", path, made, info, err)
			}
		}
	}
	b.put("echo", "another") // what it remembers is written again
	b.event("said echo: run", 2)
	b.poll("the record", func() bool {
		r, err := artefact.NewStore(b.data, "echo").Load()
		return err == nil && len(r.Proven) > 0
	})

	// Somebody else's in its place is not taken.
	if err := errors.Join(os.RemoveAll(process.SocketRoot(b.data)), os.Symlink(t.TempDir(), process.SocketRoot(b.data))); err != nil {
		t.Fatal(err)
	}
	b.tell("echo", "kill")
	b.poll("the reason", func() bool {
		return strings.Contains(b.status("echo").Reason, "folder for plugins' sockets "+process.SocketRoot(b.data)+" is no folder (L")
	})
	if err := os.Remove(process.SocketRoot(b.data)); err != nil {
		t.Fatal(err)
	}
	b.state("echo", Running)
}

// The copy of what serves is removed: a second process for suspects has it made again.
func TestCopyRemovedBeforeATrial(t *testing.T) {
	b := newBench(t)
	b.proven()
	echo := filepath.Join(b.data, "plugins", "echo")
	b.poll("it to be removed", func() bool { return os.RemoveAll(echo) == nil }) // it may be written to
	b.mu.Lock()
	p := b.latest["echo"]
	b.mu.Unlock()
	p.StartTrier()
	b.poll("the copy", func() bool { _, err := os.Stat(filepath.Join(echo, p.SHA256)); return err == nil })
	p.StartTrier() // as the dispatcher does after a while
	b.event("trying echo", 1)
}

// A folder that is refused is one message, for all its plugins, and none about
// what the refusal leaves undone.
func TestRefusedFolderIsOneMessage(t *testing.T) {
	b := newBench(t)
	if err := os.Chmod(b.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b.put("one", "")
	b.put("two", "")
	b.run()
	for _, name := range []string{"one", "two"} {
		if s := b.state(name, Refused); !strings.HasSuffix(s.Reason, "chmod go-w "+b.dir) {
			t.Errorf("%+v", s)
		}
	}
	b.event("settled", 1)
	log := b.log.String()
	if strings.Contains(log, "[WARN]") || strings.Count(log, "chmod go-w") != 1 {
		t.Errorf("the log:\n%s", log)
	}
	if err := os.Chmod(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.event("ready one", 1)
	b.event("ready two", 1)
}

// A plugin that is gone leaves no series of its own.
func TestRemovedPluginHasNoSeries(t *testing.T) {
	b := newBench(t)
	b.host.metrics.refusals.WithLabelValues("echo").Inc()
	b.proven()
	b.tell("echo", "kill")
	b.event("ready echo", 2)
	r := prometheus.NewRegistry()
	r.MustRegister(b.host.metrics.restarts, b.host.metrics.refusals)
	series := func() (n int) {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	if n := series(); n != 2 {
		t.Errorf("%d series, want 2", n)
	}
	if err := os.Remove(filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	b.event("removed echo", 1)
	b.poll("the series to go", func() bool { return series() == 0 })
}

// A file that can't be looked at, on a file system in trouble say, is no removed
// one: its plugin runs on, and its copies stay.
func TestUnreadableIsNotRemoved(t *testing.T) {
	b := newBench(t)
	elsewhere := filepath.Join(t.TempDir(), "v1")
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		t.Fatal(err)
	}
	way := filepath.Join(filepath.Dir(elsewhere), "current")
	b.put("echo", "")
	b.put("other", "")
	file := filepath.Join(b.dir, "echo")
	if err := errors.Join(os.Symlink(elsewhere, way), os.Rename(file, filepath.Join(elsewhere, "echo")), os.Symlink(filepath.Join(way, "echo"), file)); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.event("ready echo", 1)
	b.event("ready other", 1)
	loop := filepath.Join(filepath.Dir(way), "loop") // to itself: an error that isn't "not there"
	if err := errors.Join(os.Symlink("current", loop), os.Rename(loop, way)); err != nil {
		t.Fatal(err)
	}
	b.poll("it to be seen", func() bool { return b.host.Ignored()["echo"] != "" })
	if err := os.Remove(filepath.Join(b.dir, "other")); err != nil {
		t.Fatal(err)
	}
	b.event("removed other", 1) // which takes as long as it would have taken for echo
	b.state("echo", Running)
	if n := b.only("removed echo", "drain echo"); len(n) != 0 {
		t.Errorf("%q", n)
	}
}
