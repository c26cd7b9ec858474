package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// probationary makes the bench's plugins stay on probation for so long.
func (b *bench) probationary(d time.Duration) {
	b.host.o.Plugin = func(string) PluginOptions {
		return PluginOptions{RestartMin: time.Millisecond, RestartMax: 50 * time.Millisecond, DrainTimeout: patience, Probation: d}
	}
}

// proven runs a first content, which is proven at once, since there is no other.
func (b *bench) proven() Status {
	b.t.Helper()
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.event("said echo: run", 1)
	return b.state("echo", Running)
}

// P9: the new one is ready before the old one has to go; its Run begins when
// the old one is gone (checked by the bench).
func TestHandover(t *testing.T) {
	b := newBench(t)
	b.probationary(50 * time.Millisecond)
	first := b.proven()
	b.put("echo", "another")
	b.event("said echo: run", 2)
	want := []string{"described echo", "ready echo", "described echo", "ready echo", "drain echo", "gone echo"}
	if got := b.only(want...); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	var s Status
	b.poll("the new one to be proven", func() bool {
		s = b.status("echo")
		return s.Probation.IsZero() && len(s.Previous) > 0
	})
	if s.SHA256 == first.SHA256 || !slices.Equal(s.Previous, []string{first.SHA256}) || s.Restarts != 0 || s.Refusal != nil || s.Memory < 1<<20 {
		t.Errorf("status %+v", s)
	}
	for _, what := range []string{"drains", "has ended"} { // a person can tell which one it was
		line := regexp.MustCompile(fmt.Sprintf("plugin's old process %s: .*version=\\S+ sha256=%s pid=%d", what, first.SHA256[:12], first.PID))
		b.poll("the log's word that the old process "+what, func() bool { return line.MatchString(b.log.String()) })
	}
	// Proven, it is no longer taken back for a crash, but started again.
	b.tell("echo", "kill")
	b.event("ready echo", 3)
	if now := b.state("echo", Running); now.SHA256 != s.SHA256 || now.Restarts != 1 {
		t.Errorf("status %+v", now)
	}
}

// P9: whatever is wrong with a new content, the old process doesn't notice.
func TestBadContentLeavesTheOldOne(t *testing.T) {
	b := newBench(t)
	b.host.limits.configure = 3 * time.Second
	b.probationary(time.Hour)
	first := b.proven()
	for variant, reason := range map[string]string{
		"exit":    "exited before the handshake with status 3; its last words: no licence found",
		"kill":    "killed by signal: killed",
		"garbage": "prints garbage: a handshake that is cut off: \"1|hello\"",
		"refuse":  "refused to start: greeting must not be empty",
		"die":     "killed by signal: killed",
		"hang":    "hangs: no answer to Configure within 3s (start_timeout)",
	} {
		b.put("echo", "variant="+variant)
		var s Status
		b.poll(variant+" to be refused", func() bool {
			s = b.status("echo")
			return s.Refusal != nil && s.Refusal.Reason == reason
		})
		if s.State != Running || s.PID != first.PID || s.SHA256 != first.SHA256 || s.Refusal.SHA256 == first.SHA256 {
			t.Errorf("%s: status %+v", variant, s)
		}
	}
	if got := b.only("ready echo", "drain echo"); len(got) != 1 {
		t.Errorf("events %q", got)
	}
	b.put("echo", "mended")
	b.event("gone echo", 4) // refuse, die, hang, and the first one
	if s := b.state("echo", Running); s.PID == first.PID || s.Refusal != nil {
		t.Errorf("status %+v", s)
	}
}

// P9: a new version on probation that crashes, hangs or does badly is taken back.
func TestRollback(t *testing.T) {
	for name, fail := range map[string]struct {
		do     func(b *bench)
		reason string
	}{
		"crash": {func(b *bench) { b.tell("echo", "kill") }, "killed by signal: killed"},
		"hang":  {func(b *bench) { b.tell("echo", "stop") }, "hung: no answer to a ping within 1s"},
		"errors": {func(b *bench) {
			sum := b.status("echo").SHA256
			b.mu.Lock()
			b.results[sum] = entry.Results{Handled: 75, Failed: 25}
			b.mu.Unlock()
		}, "25 of its first 100 attempts failed (25 %), of the one's before it 10.0 %"},
		"memory": {func(b *bench) { b.tell("echo", "grow") }, "uses "},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.host.limits.Verdict, b.host.limits.weigh = 50*time.Millisecond, 50*time.Millisecond
			if name == "hang" {
				b.host.limits.ping = time.Second
			}
			b.host.o.Plugin = func(string) PluginOptions {
				o := PluginOptions{RestartMin: time.Hour, Probation: time.Hour}
				if name == "memory" {
					o.MemoryMax = 150 << 20
				}
				return o
			}
			first := b.proven()
			b.mu.Lock()
			b.results[first.SHA256] = entry.Results{Handled: 900, Failed: 100}
			b.mu.Unlock()
			b.put("echo", "another")
			b.event("gone echo", 1)
			if s := b.state("echo", Running); s.Probation.IsZero() || s.SHA256 == first.SHA256 {
				t.Fatalf("not on probation: %+v", s)
			}
			fail.do(b)
			b.event("ready echo", 3)
			b.event("gone echo", 2)
			var s Status
			b.poll("the first one to serve", func() bool { s = b.status("echo"); return s.State == Running && s.SHA256 == first.SHA256 })
			if s.Refusal == nil || !strings.HasPrefix(s.Refusal.Reason, fail.reason) || !s.Probation.IsZero() {
				t.Errorf("status %+v, refusal %+v", s, s.Refusal)
			}
			if !strings.Contains(b.log.String(), "[ERROR] plugin is rolled back to the last content that was proven: plugin=echo") {
				t.Error("the log has no alert")
			}
			// Over a restart of the host, too.
			b.stop()
			again := newBench(t)
			again.dir, again.data = b.dir, b.data
			again.host.o.Dir, again.host.o.DataDir, again.host.o.Plugin = b.dir, b.data, b.host.o.Plugin
			again.run()
			again.event("ready echo", 1)
			if now := again.state("echo", Running); now.SHA256 != first.SHA256 || now.Refusal == nil || !strings.HasPrefix(now.Refusal.Reason, fail.reason) {
				t.Errorf("after a restart of the host: %+v", now)
			}
			if got := again.only("described echo"); len(got) != 1 {
				t.Errorf("events %q", again.seen())
			}
		})
	}
}

func TestNewerFileSupersedesProbation(t *testing.T) {
	b := newBench(t)
	b.probationary(time.Hour)
	first := b.proven()
	b.put("echo", "2")
	b.event("ready echo", 2)
	b.put("echo", "3")
	b.event("gone echo", 2)
	b.event("said echo: run", 3)
	b.tell("echo", "kill")
	b.event("ready echo", 4)
	b.poll("the first one to serve", func() bool { s := b.status("echo"); return s.State == Running && s.SHA256 == first.SHA256 })
}

// A bad one that comes while another is on probation leaves that where it is.
func TestBadContentLeavesProbation(t *testing.T) {
	b := newBench(t)
	b.probationary(time.Hour)
	b.proven()
	b.put("echo", "2")
	b.event("said echo: run", 2)
	second := b.state("echo", Running)
	b.put("echo", "variant=refuse")
	b.event("gone echo", 2)
	var s Status
	b.poll("the refusal", func() bool { s = b.status("echo"); return s.Refusal != nil })
	if s.PID != second.PID || s.Probation != second.Probation || len(b.only("ready echo")) != 2 {
		t.Errorf("status %+v, was %+v", s, second)
	}
}

// The latest file wins, also over one that is still being started.
func TestNewerFileSupersedesStart(t *testing.T) {
	b := newBench(t)
	b.probationary(time.Hour)
	b.proven()
	b.put("echo", "variant=hang")
	b.event("described echo", 2)
	b.put("echo", "3")
	b.event("ready echo", 2)
	b.event("said echo: run", 2)
	if s := b.state("echo", Running); s.Refusal != nil {
		t.Errorf("one that was superseded is no refused one: %+v", s.Refusal)
	}
}

// Where two can't run at a time, the old one has gone before the new one starts.
func TestRecreate(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions {
		return PluginOptions{Strategy: Recreate, Probation: time.Hour, RestartMin: time.Hour}
	}
	first := b.proven()
	b.put("echo", "another")
	b.event("said echo: run", 2)
	b.put("echo", "variant=refuse") // the old one is away, but not for long
	b.event("said echo: run", 3)
	want := []string{"described echo", "ready echo", "drain echo", "gone echo", "described echo", "ready echo", "drain echo", "gone echo", "described echo", "gone echo", "described echo", "ready echo"}
	if got := b.only(want...); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 { // the second one was never proven
		t.Errorf("status %+v", s)
	}
}

// Refused content is tried again when a person says so, or with another config.
func TestRefusedContentByCommand(t *testing.T) {
	b := newBench(t)
	b.probationary(time.Hour)
	b.proven()
	b.put("echo", "2")
	b.event("ready echo", 2)
	b.event("gone echo", 1)
	b.tell("echo", "kill")
	b.event("ready echo", 3)
	if _, err := b.host.Reload(context.Background(), "echo", false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.host.Reload(context.Background(), "", true); err != nil {
		t.Fatal(err)
	}
	b.event("ready echo", 4)
	b.event("gone echo", 3)
	if s := b.state("echo", Running); s.Probation.IsZero() || s.Refusal != nil {
		t.Errorf("status %+v", s)
	}
	b.tell("echo", "kill")
	b.event("ready echo", 5)
	changed := b.host.Configure(context.Background(), func(string) PluginOptions { return PluginOptions{MaxAttempts: 3, Probation: time.Hour} })
	if !slices.Equal(changed, []Change{{"echo", Restarts}}) {
		t.Errorf("changed %v", changed)
	}
	b.event("ready echo", 6)
	if _, err := b.host.Reload(context.Background(), "ecco", true); err == nil || err.Error() != `there is no plugin "ecco"; there are: echo` {
		t.Errorf("reload of an unknown plugin: %v", err)
	}
}

// A config that the plugin refuses changes nothing; a good one is handed over;
// the same one is none.
func TestConfigure(t *testing.T) {
	b := newBench(t)
	b.probationary(0)
	first := b.proven()
	with := func(config string) []Change {
		return b.host.Configure(context.Background(), func(string) PluginOptions {
			return PluginOptions{RestartMin: time.Millisecond, RestartMax: 50 * time.Millisecond, Config: json.RawMessage(config)}
		})
	}
	with(`{"do":"refuse"}`)
	b.poll("the refusal", func() bool { s := b.status("echo"); return s.Refusal != nil })
	if s := b.status("echo"); s.State != Running || s.PID != first.PID || !strings.HasPrefix(s.Refusal.Reason, "refused to start: ") {
		t.Errorf("status %+v", s)
	}
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 2) // it comes back with the config that it worked with
	if changed := with(`{"do":"refuse"}`); changed != nil {
		t.Errorf("changed %v", changed)
	}
	with(`{"do":"good"}`)
	b.event("said echo: run", 3)
	b.poll("the refusal to be over", func() bool { return b.status("echo").Refusal == nil })
	for i, proxy := range []string{"a", "b"} { // a process can't be told later
		b.host.Configure(context.Background(), func(string) PluginOptions {
			return PluginOptions{RestartMin: time.Millisecond, RestartMax: 50 * time.Millisecond, Env: map[string]string{"HTTPS_PROXY": proxy}}
		})
		b.event("said echo: run", 4+i)
	}
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 {
		t.Errorf("status %+v", s)
	}
}

// A person goes back, and stays there until the file changes, over a restart too.
func TestRollbackByHand(t *testing.T) {
	b := newBench(t)
	b.probationary(0)
	first := b.proven()
	if err := b.host.Rollback(context.Background(), "echo"); err == nil || !strings.Contains(err.Error(), "no other proven content") {
		t.Errorf("with nothing to go back to: %v", err)
	}
	b.put("echo", "2")
	b.event("said echo: run", 2)
	if err := b.host.Rollback(context.Background(), "echo"); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 3)
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 || !s.Pinned {
		t.Errorf("status %+v", s)
	}
	b.put("echo", "2") // touched, not changed
	b.stop()

	again := newBench(t)
	again.dir, again.data = b.dir, b.data
	again.host.o.Dir, again.host.o.DataDir = b.dir, b.data
	again.run()
	again.event("ready echo", 1)
	if s := again.state("echo", Running); s.SHA256 != first.SHA256 || !s.Pinned {
		t.Errorf("after a restart: %+v", s)
	}
	again.put("echo", "3")
	again.event("said echo: run", 2)
	if s := again.state("echo", Running); s.Pinned || s.SHA256 == first.SHA256 {
		t.Errorf("after a change: %+v", s)
	}
	again.put("echo", "2") // what it was rolled back from: a person wants it now
	again.event("said echo: run", 3)
	if s := again.state("echo", Running); s.Pinned || s.SHA256 == first.SHA256 {
		t.Errorf("after the change back: %+v", s)
	}
}

// The last three proven contents are kept, the one that serves among them; a
// rollback goes to the one before it, and once more to the one before that.
func TestLastThreeAreKept(t *testing.T) {
	b := newBench(t)
	b.probationary(0)
	sums := []string{b.proven().SHA256}
	for n := range 4 {
		b.put("echo", strings.Repeat("x", n+1))
		b.event("said echo: run", n+2)
		sums = append(sums, b.state("echo", Running).SHA256)
	}
	slices.Reverse(sums)
	if s := b.status("echo"); !slices.Equal(s.Previous, sums[1:3]) {
		t.Errorf("the contents before are %q, want %q", s.Previous, sums[1:3])
	}
	copies, err := filepath.Glob(filepath.Join(b.data, "plugins", "echo", strings.Repeat("?", 64)))
	if err != nil || len(copies) != 3 {
		t.Errorf("%d copies are kept: %v", len(copies), err)
	}
	if err := b.host.Rollback(context.Background(), "echo"); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 6)
	if s := b.state("echo", Running); s.SHA256 != sums[1] {
		t.Errorf("rolled back to %s, want the one before, %s", s.SHA256, sums[1])
	}
	if err := b.host.Rollback(context.Background(), "echo"); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 7)
	if s := b.state("echo", Running); s.SHA256 != sums[2] {
		t.Errorf("rolled back twice to %s, want the one before that, %s", s.SHA256, sums[2])
	}
	if err := b.host.Rollback(context.Background(), "echo"); err == nil || !strings.Contains(err.Error(), "balhost reload echo --force") {
		t.Errorf("a third time: %v", err)
	}
}

// Suspects are tried in a process of their own, whose death is nobody else's.
func TestTrier(t *testing.T) {
	b := newBench(t)
	b.probationary(time.Hour)
	first := b.proven()
	ask := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.latest["echo"].StartTrier()
	}
	again := func(n int) { // the end of the last one is known, so one ask is enough
		ask()
		b.event("trying echo", n)
	}
	ask()
	ask() // once is enough
	b.event("trying echo", 1)
	b.mu.Lock()
	trier := b.triers["echo"]
	b.mu.Unlock()
	if trier.PID == first.PID || trier.SHA256 != first.SHA256 {
		t.Errorf("trier %+v", trier)
	}
	trier.Retire()
	b.event("tried echo", 1)
	again(2)
	b.mu.Lock()
	trier = b.triers["echo"]
	b.mu.Unlock()
	if err := syscall.Kill(trier.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.event("tried echo", 2)
	if s := b.state("echo", Running); s.PID != first.PID || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
	again(3)
	b.put("echo", "2") // takes the trier of the old one along
	b.event("tried echo", 3)
	b.event("said echo: run", 2)
	if n := len(b.only("trier echo")); n != 3 {
		t.Errorf("%d triers", n)
	}
}

// on_remove = "keep": it runs on, and a file that comes back is taken.
func TestKeepRemoved(t *testing.T) {
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{KeepRemoved: true} }
	first := b.proven()
	if err := os.Remove(filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	b.poll("the loss to be told", func() bool { return strings.Contains(b.log.String(), "it runs on, as on_remove says") })
	b.tell("echo", "kill") // and comes back
	b.event("said echo: run", 2)
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 {
		t.Errorf("status %+v", s)
	}
	b.put("echo", "2")
	b.event("said echo: run", 3)
}
