package pluginhost

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/policy"
)

func TestPluginRunsAndStops(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.event("said echo: run", 1)
	b.event("settled", 1)
	s := b.state("echo", Running)
	if s.PID == 0 || s.Version != "1.2" || len(s.SHA256) != 64 || s.Started.IsZero() || len(s.Categories) != 1 {
		t.Errorf("status %+v", s)
	}
	b.stop()
	want := []string{"described echo", "ready echo", "drain echo", "gone echo"}
	if got := b.only(want...); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("events %q, want in this order %q", got, want)
	}
	if s := b.status("echo"); s.State != Stopped || s.PID != 0 || s.Reason != "the host is stopping" {
		t.Errorf("status after the stop: %+v", s)
	}
	var states []string
	for _, line := range strings.Split(b.log.String(), "\n") {
		if _, state, ok := strings.Cut(line, "plugin=echo state="); ok {
			state, _, _ = strings.Cut(state, " ")
			states = append(states, state)
		}
	}
	if got := strings.Join(states, " "); got != "starting running draining stopped" {
		t.Errorf("the log has the states %s", got)
	}
}

// What isn't a plugin is no plugin, however it got there; an executable bit
// given later makes it one.
func TestOnlyExecutablesAreTaken(t *testing.T) {
	b := newBench(t)
	b.put("target", "")
	elsewhere := filepath.Join(t.TempDir(), "v1")
	if err := os.Rename(filepath.Join(b.dir, "target"), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(b.dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(b.dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		".hidden", "echo~", "#echo#", "echo.bak", "echo.rpmnew", "echo.dpkg-old", "echo-1.2", "echo (copy)", "echo-go-tmp-umask", strings.Repeat("x", 65),
	} {
		b.script(name, "exit 1")
	}
	b.put("later", "")
	later := filepath.Join(b.dir, "later")
	if err := os.Chmod(later, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "README.md"), []byte("drop plugins here"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.event("ready linked", 1)
	if all := b.host.Status(); len(all) != 1 {
		t.Errorf("status tells of %+v", all)
	}
	if err := os.Chmod(later, 0o755); err != nil {
		t.Fatal(err)
	}
	b.event("ready later", 1)
}

// A link that is switched is a change; so is what happens to its target, of
// which the folder's watch says nothing.
func TestLinkedPluginChanges(t *testing.T) {
	b := newBench(t)
	elsewhere := t.TempDir()
	link := filepath.Join(b.dir, "echo")
	move := func(to string) {
		if err := os.Rename(link, filepath.Join(elsewhere, to)); err != nil {
			t.Fatal(err)
		}
	}
	point := func(to string) {
		if err := os.Symlink(filepath.Join(elsewhere, to), link); err != nil {
			t.Fatal(err)
		}
	}
	b.put("echo", "2")
	move("v2")
	b.put("echo", "3")
	move("v3")
	b.put("echo", "1")
	move("v1")
	point("v1")
	b.run()
	b.event("ready echo", 1)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	point("v2")
	b.event("ready echo", 2)
	if err := os.Rename(filepath.Join(elsewhere, "v3"), filepath.Join(elsewhere, "v2")); err != nil {
		t.Fatal(err)
	}
	b.event("ready echo", 3)
}

// What comes back as the supervisor leaves is not lost, and junk that is gone is
// not told of for ever.
func TestFilesComeAndGo(t *testing.T) {
	b := newBench(t)
	b.host.limits.absence = time.Millisecond
	b.run()
	b.event("settled", 1)
	b.script("junk", "exit 0")
	for n := range 10 {
		b.put("echo", "")
		b.event("ready echo", n+1)
		if err := os.Remove(filepath.Join(b.dir, "echo")); err != nil {
			t.Fatal(err)
		}
		b.event("removed echo", n+1)
	}
	b.state("junk", Refused)
	if err := os.Remove(filepath.Join(b.dir, "junk")); err != nil {
		t.Fatal(err)
	}
	b.poll("nothing to be told of", func() bool { return len(b.host.Status()) == 0 })
	if _, err := b.host.Reload(context.Background(), "echo", true); err == nil || err.Error() != `there is no plugin "echo"; there are: ` {
		t.Errorf("reload of a plugin that is gone: %v", err)
	}
}

// What was removed while no host ran leaves no copies, unless it is to be kept.
func TestRemovedWhileDown(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.put("kept", "")
	b.run()
	b.event("ready echo", 1)
	b.event("ready kept", 1)
	b.stop()
	again := newBench(t)
	again.data, again.host.o.DataDir = b.data, b.data
	again.host.o.Plugin = func(name string) PluginOptions { return PluginOptions{KeepRemoved: name == "kept"} }
	again.put("other", "") // an empty folder may be one that is not mounted yet
	again.run()
	left := func() (names []string) {
		entries, err := os.ReadDir(filepath.Join(b.data, "plugins"))
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	again.poll("the copies to go", func() bool { return slices.Equal(left(), []string{"kept", "other"}) })
}

// A supervisor that leaves does not take along what has come for it meanwhile.
func TestForgetKeepsNews(t *testing.T) {
	h := New(Options{})
	s := newSupervisor(h, "echo", PluginOptions{}.filled(), func() {})
	h.plugins["echo"] = s
	s.offer(&artefact.File{Name: "echo"})
	if h.forget(s) || h.plugins["echo"] != s {
		t.Error("it was forgotten with a file in its box")
	}
	s.box.drain()
	if !h.forget(s) || len(h.plugins) != 0 {
		t.Error("it was not forgotten")
	}
}

// Who asks for the status in the moment that the boot ends waits for nobody.
func TestStatusWhileBooting(t *testing.T) {
	h := New(Options{})
	s := newSupervisor(h, "echo", PluginOptions{}.filled(), func() {
		if all := h.Status(); len(all) != 1 {
			t.Errorf("status %+v", all)
		}
	})
	h.plugins["echo"] = s
	over := make(chan struct{})
	go func() { s.show(policy.Decision{State: Refused}); close(over) }()
	select {
	case <-over:
	case <-time.After(patience):
		t.Fatal("the status and the boot's end wait for each other")
	}
}

func TestPluginAppearsChangesAndGoes(t *testing.T) {
	b := newBench(t)
	b.run()
	b.event("settled", 1) // nothing was there
	b.put("echo", "")
	b.event("ready echo", 1)
	first := b.state("echo", Running)

	b.put("echo", "") // the same content again
	b.put("other", "")
	b.event("ready other", 1)
	if s := b.status("echo"); s.PID != first.PID {
		t.Errorf("an unchanged content was started anew: %+v", s)
	}

	b.put("echo", "another")
	b.event("ready echo", 2)
	second := b.state("echo", Running)
	if second.SHA256 == first.SHA256 || second.PID == first.PID || second.Restarts != 0 {
		t.Errorf("before the change %+v, after it %+v", first, second)
	}
	b.event("gone echo", 1) // the old process ends when it likes, within its time

	if err := os.Remove(filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	b.event("gone echo", 2)
	b.poll("its copies to go", func() bool {
		_, err := os.Stat(filepath.Join(b.data, "plugins", "echo"))
		return os.IsNotExist(err)
	})
	b.poll("it to be told of no more", func() bool { return b.status("echo").Name == "" })
	want := []string{"described echo", "ready echo", "described echo", "ready echo", "drain echo", "gone echo", "drain echo", "gone echo"}
	if got := b.only(want...); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("events %q, want %q", got, want)
	}

	b.put("echo", "another") // and back
	b.event("ready echo", 3)
}

// P5: the next process comes only after the last one is gone; P10: whatever way
// it ended. The bench checks the order in Described and Gone.
func TestCrashedPluginIsStartedAgain(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	for i, order := range []struct{ order, reason string }{
		{"exit", "exited with status 7"},
		{"kill", "killed by signal: killed"},
		{"panic", "exited with status 2; its last words: panic: out of luck"},
		{"chatter", "killed by signal: killed"}, // what it said doesn't come after Gone
		{"leave", "broke: it ended its session unasked"},
	} {
		b.event("ready echo", i+1)
		b.tell("echo", order.order)
		b.event("gone echo", i+1)
		b.event("ready echo", i+2)
		if !strings.Contains(b.log.String(), order.reason) {
			t.Errorf("%s: the log should say %q", order.order, order.reason)
		}
		if s := b.state("echo", Running); s.Restarts != i+1 {
			t.Errorf("%s: status %+v", order.order, s)
		}
	}
}

// Row 12: a frame over the limit ends the session, not the host.
func TestFrameOverTheLimit(t *testing.T) {
	b := newBench(t)
	b.put("flooder", "")
	b.run()
	b.event("ready flooder", 1)
	b.tell("flooder", "flood")
	b.event("gone flooder", 1)
	b.poll("the reason to be in the log", func() bool {
		return strings.Contains(b.log.String(), "broke: its session ended: it sent a frame of more than 8 MiB, the limit of one frame")
	})
}

func TestDispatcherKillsPlugin(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour} }
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.mu.Lock()
	kill := b.latest["echo"].Kill
	b.mu.Unlock()
	kill("hung: 64 handlers are stuck")
	b.event("gone echo", 1)
	s := b.state("echo", Backoff)
	if s.Reason != "hung: 64 handlers are stuck" || time.Until(s.NextStart) < 50*time.Minute {
		t.Errorf("status %+v", s)
	}
}

// A new content doesn't wait for the backoff of the old one.
func TestNewContentEndsBackoff(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour} }
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.tell("echo", "kill")
	b.state("echo", Backoff)
	b.put("echo", "mended")
	b.event("ready echo", 2)
}

// The drain has the plugin's limit; what it held is the dispatcher's to give
// out again after Gone.
func TestDrainHasALimit(t *testing.T) {
	b := newBench(t)
	b.stuck = true
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{DrainTimeout: 50 * time.Millisecond} }
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.put("echo", "another")
	b.event("gone echo", 1)
	b.event("ready echo", 2)
	if !strings.Contains(b.log.String(), "did not drain in time") {
		t.Error("nothing is said of it in the log")
	}
}

// The host's stop has a limit of its own, also for a drain under way.
func TestStopHurriesDrain(t *testing.T) {
	b := newBench(t)
	b.stuck = true
	b.host.o.StopTimeout = 50 * time.Millisecond
	b.put("echo", "")
	b.put("other", "")
	b.run()
	b.event("ready echo", 1)
	b.event("ready other", 1)
	b.put("echo", "another")
	b.event("drain echo", 1)
	began := time.Now()
	b.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("stopping took %v, as long as the plugins' own limit", took)
	}
}

// One that hangs at its start doesn't hold up the host's stop.
func TestStopWhileStarting(t *testing.T) {
	b := newBench(t)
	b.host.limits.Handshake = time.Hour
	b.script("mute", "exec sleep 3600")
	b.put("hangs-configure", "")
	b.run()
	b.event("described hangs-configure", 1)
	b.state("mute", Starting)
	b.stop()
}

// The watch finds what comes without waiting for a rescan.
func TestFolderIsWatched(t *testing.T) {
	b := newBench(t)
	b.host.limits.rescan = time.Hour
	b.run()
	b.event("settled", 1)
	b.put("echo", "")
	b.event("ready echo", 1)
}

// A folder that is missing stops nothing, and is found when it comes.
func TestFolderMayBeMissing(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	away := b.dir + ".away"
	if err := os.Rename(b.dir, away); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.event("settled", 1)
	for n := range 2 {
		if err := os.Rename(away, b.dir); err != nil {
			t.Fatal(err)
		}
		b.event("ready echo", 1)
		b.put("echo", strings.Repeat("x", n)) // the folder is watched
		b.event("ready echo", n+1)
		if err := os.Rename(b.dir, away); err != nil {
			t.Fatal(err)
		}
		b.poll("the loss to be told", func() bool { return strings.Count(b.log.String(), "folder can't be read") > n })
	}
	b.state("echo", Running) // without its folder, too
	if err := os.Rename(away, b.dir); err != nil {
		t.Fatal(err)
	}
}
