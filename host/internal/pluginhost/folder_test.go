package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"balhost/host/internal/pluginhost/artefact"
)

// folder drops a plugin that is a folder, as mv does, with one file beside its program.
func (b *bench) folder(name, program, module string) (sha256 string) {
	b.t.Helper()
	making := filepath.Join(b.dir, ".new-"+name)
	if err := os.MkdirAll(filepath.Join(making, "lib"), 0o755); err != nil {
		b.t.Fatal(err)
	}
	writeExecutable(b.t, filepath.Join(making, artefact.ProgramName), []byte("#!/bin/sh\n"+program+"\n"))
	if err := os.WriteFile(filepath.Join(making, "lib", "module"), []byte(module), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, name)); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(making, filepath.Join(b.dir, name)); err != nil {
		b.t.Fatal(err)
	}
	found, err := artefact.Look(b.dir, artefact.Usual, func(string) string { return "" })
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range found {
		if c.Name == name {
			sha256 = c.SHA256
		}
	}
	return sha256
}

// All that a file can do as a plugin, a folder can: it comes, changes, is refused and
// rolled back, and goes. Its program finds what lies beside it, in a copy that nobody can
// change. // P9
func TestFolderPlugin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.host.limits.absence = patience // what replaces a folder takes a moment
	b.run()
	b.event("settled", 1)
	program := fmt.Sprintf(`[ "$0" = "$BALHOST_PLUGIN_DIR/plugin" ] && cat "$BALHOST_PLUGIN_DIR/lib/module" >&2 && exec %s echo`, self)
	one := b.folder("echo", program, "INFO:module one\n")
	b.event("ready echo", 1)
	if s := b.state("echo", Running); s.SHA256 != one {
		t.Errorf("it runs as %s, check says %s", s.SHA256, one)
	}
	staged := filepath.Join(b.data, "plugins", "echo", one)
	if env := b.ask("echo", "environ"); !strings.Contains(env+"\n", "BALHOST_PLUGIN_DIR="+staged+"\n") || !strings.Contains(env+"\n", "PYTHONDONTWRITEBYTECODE=1\n") {
		t.Errorf("its environment: %q", env)
	}
	if dir := b.ask("echo", "where"); dir != filepath.Join(b.data, "plugins", "echo", "work") {
		t.Errorf("it works in %s", dir)
	}

	// An editor writes one file deep in it.
	if err := os.WriteFile(filepath.Join(b.dir, "echo", "lib", "module"), []byte("INFO:module two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.event("ready echo", 2)
	b.poll("the second module's word", func() bool { return strings.Contains(b.log.String(), "module two") })
	two := b.state("echo", Running).SHA256
	if text, err := os.ReadFile(filepath.Join(staged, "lib", "module")); err != nil || string(text) != "INFO:module one\n" || two == one {
		t.Errorf("the old copy has %q, %v", text, err)
	}

	// One that is no plugin is refused, and one that leads out is not taken.
	b.folder("echo", "exit 0", "bad")
	b.poll("it to be refused", func() bool { r := b.status("echo").Refusal; return r != nil && r.Tried })
	if err := os.Symlink("/etc", filepath.Join(b.dir, "echo", "lib", "etc")); err != nil {
		t.Fatal(err)
	}
	b.poll("the link to be told of", func() bool { return strings.Contains(b.log.String(), "leads out of the folder") })
	if s := b.status("echo"); s.State != Running || s.SHA256 != two {
		t.Errorf("%+v", s)
	}

	if err := b.host.Rollback(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	b.event("ready echo", 3)
	if s := b.state("echo", Running); s.SHA256 != one {
		t.Errorf("rolled back to %s, want %s", s.SHA256, one)
	}
}

// A folder that is gone takes its copies along; while it lacks its program only, it may
// be in the making, and the plugin goes on.
func TestFolderIsRemoved(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.run()
	b.event("settled", 1)
	b.folder("echo", "exec "+self+" echo", "one")
	b.event("ready echo", 1)
	if err := os.Remove(filepath.Join(b.dir, "echo", artefact.ProgramName)); err != nil {
		t.Fatal(err)
	}
	b.poll("it to be told of", func() bool { return b.host.Ignored()["echo"] != "" })
	if s := b.state("echo", Running); s.PID == 0 {
		t.Errorf("%+v", s)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "echo")); err != nil {
		t.Fatal(err)
	}
	b.event("removed echo", 1)
	b.poll("its copies to go", func() bool {
		left, _ := filepath.Glob(filepath.Join(b.data, "plugins", "echo", "[0-9a-f]*"))
		return len(left) == 0
	})
}
