package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/scaffold"
)

// A new plugin builds, its test passes, and in balhost dev it answers a device, in a folder
// anywhere.
func TestNewGoPlugin(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	t.Parallel()
	newPluginAnswers(t, "go")
}

// The same in the other languages, when their SDKs are made.
func TestLanguageNewPlugin(t *testing.T) {
	t.Parallel()
	for _, language := range scaffold.Languages() {
		if language != "go" {
			t.Run(language, func(t *testing.T) {
				needsExample(t, language, "echo")
				newPluginAnswers(t, language)
			})
		}
	}
}

func newPluginAnswers(t *testing.T, language string) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "my work", "greet-1")
	run := func(in, command string) string {
		t.Helper()
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = in
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	said := run(dir, "balhost plugin new greet-1 --lang "+language+" --dir 'my work' --sdk "+root)
	if want := "cd 'my work/greet-1' && ./build\n  " + scaffold.Test(language) + "\n"; !strings.Contains(said, want) {
		t.Errorf("says %q, want %q in it", said, want)
	}
	run(at, "./build") // first: it makes what the test needs
	run(at, scaffold.Test(language))

	write(t, filepath.Join(dir, "config.hcl"), strings.Replace(usualConfig, "127.0.0.1:0", "unix:admin.sock", 1), 0o600)
	write(t, filepath.Join(dir, "typed"), "phone-1 name=Ann\n", 0o600)
	s := &stage{dir: dir, running: map[string]*process{}}
	defer s.clear()
	if err := s.furnish(); err != nil {
		t.Fatal(err)
	}
	if err := s.startDev([]string{"--plugin", at, "--stdin"}); err != nil {
		t.Fatal(err)
	}
	builds(t, s.running["dev"])
	if _, err := s.running["dev"].says(`phone-1 ← \{"text":"Hello, Ann!"\}\n`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.finishCmd([]string{"dev"}); err != nil {
		t.Fatal(err)
	}
}

// builds waits until dev has built its plugin: Maven may take minutes on a busy machine.
func builds(t *testing.T, dev *process) {
	t.Helper()
	limit := time.Now().Add(10 * time.Minute)
	for !strings.Contains(dev.output(), "greet-1: built in ") {
		if dev.over() || strings.Contains(dev.output(), "the build failed") || time.Now().After(limit) {
			t.Fatalf("dev has not built the plugin\n%s", dev.tail())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
