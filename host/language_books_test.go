package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"balhost/host/internal/admin"
)

// languages are those with an SDK. The examples of each are plugin folders in
// bin/plugins/LANGUAGE, which make sdk-LANGUAGE makes. Those of Go the tests make.
var languages = []string{"go", "python", "node", "java"}

// exampleFolder makes, in a folder of the test's own, a plugin folder of one of a
// language's examples. It is false if make sdk-LANGUAGE has not been run.
func exampleFolder(t testing.TB, language, name string) (dir string, made bool) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), name)
	if language == "go" {
		out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "plugin"), "../examples/"+name).CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
		return dir, true
	}
	from := filepath.Join("..", "bin", "plugins", language, name)
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return "", false
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir, true
}

// needsExample is exampleFolder for a test, which is skipped without it, unless
// BALHOST_SDKS=required.
func needsExample(t *testing.T, language, name string) (dir string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	dir, made := exampleFolder(t, language, name)
	if missing := fmt.Sprintf("bin/plugins/%s/%s is not there: make sdk-%s makes it", language, name, language); !made && os.Getenv("BALHOST_SDKS") == "required" {
		t.Fatal(missing)
	} else if !made {
		t.Skip(missing)
	}
	return dir
}

// P1, P5, P7, P8, P9: whatever language a plugin is written in, it is replaced 20
// times and killed 5 times under load, and the books agree: each upstream is acked
// and has one answer, in the order of its device.
func TestLanguageBooks(t *testing.T) {
	t.Parallel()
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			w := newLanguageWorld(t, language)
			w.start()
			w.runs(admin.Plugin{})
			for n := range 20 {
				w.load(200, 2000)
				w.answers(20)
				before := w.runs(admin.Plugin{})
				w.moveIn(n)
				if now := w.runs(before); now.SHA256 == before.SHA256 {
					t.Fatalf("folder %d: a new process runs, but with what was there before", n)
				}
				w.load(200, 2000) // a slow start may have used up the others
				w.answers(20)
				if n%4 == 3 {
					w.killAtWork()
				}
			}
			w.settles()
			w.judgeAnswers()
		})
	}
}

// languageWorld is a world whose plugin is a folder, of which there are two, with
// different contents each time that one is moved in.
type languageWorld struct {
	*world
	out string // the folder that is not in the plugins folder
}

func newLanguageWorld(t *testing.T, language string) *languageWorld {
	made := needsExample(t, language, "echo")
	t.Parallel()
	w := &languageWorld{newSimulator(t), filepath.Join(t.TempDir(), "echo")}
	w.name = "echo"
	if err := errors.Join(
		os.CopyFS(w.out, os.DirFS(made)),
		os.Mkdir(filepath.Join(w.dir, "plugins"), 0o700),
		os.Rename(made, filepath.Join(w.dir, "plugins", "echo")),
	); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "config.hcl"), usualConfig+`
plugin "echo" {
  suspect_after = 1000000
  probation     = "0s" // a kill is no reason to go back
  start_timeout = "1m"
  restart_backoff {
    min = "10ms"
    max = "50ms"
  }
}
`, 0o600)
	return w
}

// moveIn makes a new content, and puts it in the place of the one that serves.
func (w *languageWorld) moveIn(version int) {
	w.t.Helper()
	write(w.t, filepath.Join(w.out, "version.txt"), strconv.Itoa(version), 0o600)
	in, away := filepath.Join(w.dir, "plugins", "echo"), w.out+".away"
	if err := errors.Join(os.Rename(in, away), os.Rename(w.out, in), os.Rename(away, w.out)); err != nil {
		w.t.Fatal(err)
	}
}

// runs waits until a process other than that one serves.
func (w *languageWorld) runs(other admin.Plugin) admin.Plugin {
	w.t.Helper()
	return w.until("a new process serves", func(p admin.Plugin) bool { return p.State == "running" && p.PID != other.PID })
}

// answers waits until devices have got so many more.
func (w *languageWorld) answers(more uint64) {
	w.t.Helper()
	began := w.sim.Counts().Downstreams
	if !eventually(func() bool { return w.sim.Counts().Downstreams >= began+more }) {
		w.t.Fatalf("after %s %d answers\n%s", patience, w.sim.Counts().Downstreams-began, w.host.tail())
	}
}

// killAtWork is kill -9 for the plugin's process, while devices send as much as they
// can. It waits until another one answers.
func (w *languageWorld) killAtWork() {
	w.t.Helper()
	before := w.runs(admin.Plugin{})
	w.load(0, 500)
	w.answers(100)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		w.t.Fatalf("kill the plugin: %v\n%s", err, w.host.tail())
	}
	w.vanishes(before.PID)
	w.runs(before)
	w.load(200, 500)
	w.answers(20)
}
