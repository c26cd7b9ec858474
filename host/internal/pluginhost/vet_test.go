package pluginhost

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"balhost/host/internal/pluginhost/artefact"
)

// What is not trusted is said, and taken as soon as it is mended; what runs goes on.
func TestVettingIsSeen(t *testing.T) {
	b := newBench(t)
	b.proven()
	sums := filepath.Join(b.dir, "echo.sha256")
	if err := os.WriteFile(sums, []byte(strings.Repeat("ab", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	b.put("echo", "another")
	b.poll("the refusal", func() bool {
		s := b.status("echo")
		return s.Refusal != nil && strings.Contains(s.Refusal.Reason, "echo.sha256 says") && s.State == Running
	})
	if err := os.Remove(sums); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 2)
	if err := os.Chmod(b.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b.put("echo", "yet another")
	b.poll("the refusal", func() bool {
		s := b.status("echo")
		return s.Refusal != nil && strings.HasSuffix(s.Refusal.Reason, "chmod go-w "+b.dir)
	})
	if err := os.Chmod(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: run", 3)
}

// P10: a FIFO would keep whoever opens it waiting for ever. One in the place of a
// sum, or of a plugin's file after the last look, is named like any other mistake.
func TestPipesInTheFolder(t *testing.T) {
	b := newBench(t)
	b.host.limits.absence = patience // until the plugin is stopped
	b.proven()
	pipe := func(name string) string {
		t.Helper()
		path := filepath.Join(b.dir, name)
		if err := syscall.Mkfifo(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sum := pipe("echo.sha256")
	refused := func(reason string) {
		t.Helper()
		b.poll("the refusal: "+reason, func() bool {
			s := b.status("echo")
			return s.Refusal != nil && strings.Contains(s.Refusal.Reason, reason) && s.State == Running
		})
	}
	refused("echo.sha256 holds no sha256")
	found, err := Look(b.dir, artefact.Usual, func(string) string { return "" })
	if err != nil || len(found) != 2 || !strings.Contains(found[0].Refused, "echo.sha256 holds no sha256") {
		t.Errorf("check finds %+v, %v", found, err)
	}
	if err := os.Remove(sum); err != nil {
		t.Fatal(err)
	}
	b.poll("the mend", func() bool { return b.status("echo").Refusal == nil })

	if err := os.Rename(pipe(".pipe"), filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.host.Reload(t.Context(), "echo", true); err != nil {
		t.Fatal(err)
	}
	refused("is no regular file any more")
	if reason := artefact.Flaw(filepath.Join(b.dir, "echo")); !strings.HasSuffix(reason, "is not a regular file") {
		t.Errorf("flaw: %q", reason)
	}
	b.put("other", "")
	b.event("ready other", 1)
}
