package pluginhost

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/pluginhost/artefact"
)

// restarted stops the bench's host, and makes another one on its folders.
func (b *bench) restarted() *bench {
	b.t.Helper()
	b.stop()
	again := newBench(b.t)
	again.dir, again.data = b.dir, b.data
	again.host.o.Dir, again.host.o.DataDir, again.host.o.Plugin = b.dir, b.data, b.host.o.Plugin
	return again
}

// announce writes the sum that echo's content must have.
func (b *bench) announce(sum string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "echo.sha256"), []byte(sum), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// P9: a file that can't be taken leaves what was proven before, also over a
// restart of the host; from there a person can go back further.
func TestRefusedFileAtBoot(t *testing.T) {
	b := newBench(t)
	first := b.proven()
	b.put("echo", "2")
	b.event("said echo: run", 2)
	second := b.state("echo", Running)
	b.announce(strings.Repeat("ab", 32))
	b.put("echo", "3")
	b.poll("the refusal", func() bool { return b.status("echo").Refusal != nil })

	b = b.restarted()
	b.run()
	b.event("ready echo", 1)
	b.event("settled", 1)
	if got := b.only("described echo", "settled"); strings.Join(got, ", ") != "described echo, settled" {
		t.Errorf("events %q", b.seen())
	}
	if s := b.state("echo", Running); s.SHA256 != second.SHA256 || s.Refusal == nil || !strings.Contains(s.Refusal.Reason, "echo.sha256 says") {
		t.Errorf("after the restart %+v, want %s to serve", s, second.SHA256)
	}
	if err := b.host.Rollback(context.Background(), "echo"); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 2)
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 || !s.Pinned {
		t.Errorf("rolled back: %+v, want %s to serve", s, first.SHA256)
	}
	if err := os.Remove(filepath.Join(b.dir, "echo.sha256")); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 3)
	if s := b.state("echo", Running); s.SHA256 == first.SHA256 || s.SHA256 == second.SHA256 || s.Pinned {
		t.Errorf("mended: %+v", s)
	}
}

// With nothing to go back to, a rollback fails, and what is refused stays so.
func TestRollbackOfNothing(t *testing.T) {
	b := newBench(t)
	b.announce(strings.Repeat("ab", 32))
	b.put("echo", "")
	b.run()
	b.state("echo", Refused)
	if err := b.host.Rollback(context.Background(), "echo"); err == nil || !strings.Contains(err.Error(), "nothing to roll back from") {
		t.Errorf("%v", err)
	}
	b.event("settled", 1)
}

// A file that comes late, to a folder that was empty as one is before a mount,
// finds its copies and its pin.
func TestLateFile(t *testing.T) {
	for name, other := range map[string]bool{"empty folder": false, "one file of two": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first := b.proven()
			b.put("echo", "2")
			b.event("said echo: run", 2)
			if err := b.host.Rollback(context.Background(), "echo"); err != nil {
				t.Fatal(err)
			}
			b.event("said echo: run", 3)
			b = b.restarted()
			file, away := filepath.Join(b.dir, "echo"), filepath.Join(t.TempDir(), "echo")
			if err := os.Rename(file, away); err != nil {
				t.Fatal(err)
			}
			if other { // so it is gone, after a while that is longer than this test
				b.put("other", "")
				b.host.limits.absence = 10 * patience
			} else {
				b.host.limits.absence = time.Millisecond
			}
			b.run()
			b.event("settled", 1)
			for range 3 { // looks
				b.host.rescan()
				b.poll("a look", func() bool { return len(b.host.hint) == 0 })
			}
			if err := os.Rename(away, file); err != nil {
				t.Fatal(err)
			}
			b.event("ready echo", 1)
			if s := b.state("echo", Running); s.SHA256 != first.SHA256 || !s.Pinned {
				t.Errorf("status %+v, want %s to serve", s, first.SHA256)
			}
		})
	}
}

// damage replaces a content's copy by half a one.
func (b *bench) damage(sum string) {
	b.t.Helper()
	path := filepath.Join(b.data, "plugins", "echo", sum)
	if err := os.Remove(path); err != nil { // what runs can't be written to
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("half a"), 0o500); err != nil {
		b.t.Fatal(err)
	}
}

// A copy that is damaged is not fallen back to: the one proven before it is.
func TestDamagedCopy(t *testing.T) {
	b := newBench(t)
	b.probationary(0)
	first := b.proven()
	b.put("echo", "2")
	b.event("said echo: run", 2)
	second := b.state("echo", Running)
	b.probationary(time.Hour)
	b.host.Configure(context.Background(), b.host.o.Plugin)
	b.event("said echo: run", 3)
	b.put("echo", "3")
	b.event("said echo: run", 4)
	b.damage(second.SHA256)
	b.tell("echo", "kill")
	b.event("said echo: run", 5)
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 {
		t.Errorf("status %+v, want %s to serve", s, first.SHA256)
	}
	if strings.Count(b.log.String(), "is damaged: removed") != 1 {
		t.Error("the damage should be told once")
	}
}

// A damaged copy of what the folder holds is made anew, when it is to be started.
func TestDamagedCopyOfTheFile(t *testing.T) {
	b := newBench(t)
	first := b.proven()
	b.damage(first.SHA256)
	b.tell("echo", "kill")
	b.event("said echo: run", 2)
	if s := b.state("echo", Running); s.SHA256 != first.SHA256 {
		t.Errorf("status %+v", s)
	}
}

// P10: a file system that doesn't answer holds up neither the plugins that run
// nor the end of the host.
func TestFolderHangs(t *testing.T) {
	b := newBench(t)
	b.host.limits.Grace, b.host.limits.crowd = 100*time.Millisecond, time.Millisecond
	hang, asked := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	b.host.yard.Free = func(dir string) (int64, error) {
		if armed.CompareAndSwap(true, false) { // this once
			close(asked)
			<-hang
		}
		return artefact.FreeBytes(dir)
	}
	b.proven()
	armed.Store(true)
	b.put("echo", "2")
	<-asked
	b.host.Alive() // it doesn't stand still
	b.tell("echo", "kill")
	b.event("said echo: run", 2)
	b.put("other", "")
	b.event("ready other", 1)
	b.put("echo", "3")
	b.event("said echo: run", 3)
	go func() {
		b.poll("the host's end", func() bool { return strings.Contains(b.log.String(), "does not answer: not waited for") })
		close(hang)
	}()
	b.stop()
	b.host.Alive() // nobody waits for one that has ended
}
