package devloop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is for what must happen on a busy machine, too.
const patience = time.Minute

// bench is a loop that runs on a folder of its own.
type bench struct {
	t       *testing.T
	source  string
	plugins string
	lines   chan string
	stop    func()
}

// start runs a loop on the folder work in dir, or on its file.
func start(t *testing.T, source string) *bench {
	t.Helper()
	s, err := Find(source)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, source: source, plugins: t.TempDir(), lines: make(chan string, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	loop := New(Options{Source: s, Plugins: b.plugins, Work: t.TempDir(), Tell: func(line string) { b.lines <- line }})
	go func() { ended <- loop.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { b.stop() })
	return b
}

// says waits for a line that has this text in it, and returns those before it.
func (b *bench) says(text string) (before []string) {
	b.t.Helper()
	for late := time.After(patience); ; {
		select {
		case line := <-b.lines:
			if strings.Contains(line, text) {
				return before
			}
			before = append(before, line)
		case <-late:
			b.t.Fatalf("does not say %q, but %q", text, before)
		}
	}
}

// holds waits until a file of the plugins folder has this content.
func (b *bench) holds(name, content string) {
	b.t.Helper()
	var got []byte
	var err error
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(5 * time.Millisecond) {
		if got, err = os.ReadFile(filepath.Join(b.plugins, name)); err == nil && string(got) == content {
			return
		}
	}
	b.t.Fatalf("%s is %q (%v), want %q", name, got, err, content)
}

// write makes a file with its folders. A text that begins with #! is executable.
func write(t *testing.T, path, text string) {
	t.Helper()
	mode := os.FileMode(0o600)
	if strings.HasPrefix(text, "#!") {
		mode = 0o777 // with what a umask of 0 leaves
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// A save builds the plugin and puts it into the plugins folder. While the build fails, what
// is there stays, and what the compiler says is told.
func TestSaveBuilds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "weather")
	write(t, filepath.Join(dir, "build"), "#!/bin/sh\nset -e\ngrep -q good src/code || { echo 'src/code:1: not good' >&2; exit 3; }\nmkdir -p out\ncp src/code out/weather\nchmod 755 out/weather\n")
	write(t, filepath.Join(dir, "src", "code"), "good 1")
	b := start(t, dir)
	b.says("weather: building")
	b.says("weather: built in ")
	b.holds("weather", "good 1")

	write(t, filepath.Join(dir, "src", "code"), "bad")
	b.says("weather: the build failed (exit status 3): what runs goes on")
	b.says("    src/code:1: not good")
	b.holds("weather", "good 1")

	write(t, filepath.Join(dir, "src", "deep", "new"), "x") // a folder that was not there before
	b.says("the build failed")
	write(t, filepath.Join(dir, "src", "code"), "good 2")
	b.says("built in")
	b.holds("weather", "good 2")
	if info, err := os.Stat(filepath.Join(b.plugins, "weather")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	b.stop()
	b.stop = func() {}
	if left, _ := filepath.Glob(filepath.Join(b.plugins, ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A plugin that is a folder is swapped in whole; nobody but its owner can change the copy.
func TestFolderIsSwappedWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "orders")
	write(t, filepath.Join(dir, "plugin"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "lib", "one"), "1")
	write(t, filepath.Join(dir, "node_modules", "m", "index.js"), "m")
	write(t, filepath.Join(dir, "__pycache__", "a.pyc"), "x")
	if err := os.Symlink("one", filepath.Join(dir, "lib", "link")); err != nil {
		t.Fatal(err)
	}
	b := start(t, dir)
	b.holds("orders/lib/link", "1")
	b.holds("orders/node_modules/m/index.js", "m")
	if err := os.Remove(filepath.Join(dir, "lib", "link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "lib", "one"), "2")
	b.holds("orders/lib/one", "2")
	for _, gone := range []string{"lib/link", "__pycache__"} {
		b.wait(gone+" to be gone", func() bool {
			_, err := os.Lstat(filepath.Join(b.plugins, "orders", gone))
			return errors.Is(err, os.ErrNotExist)
		})
	}
	info, err := os.Stat(filepath.Join(b.plugins, "orders", "plugin"))
	if err != nil || info.Mode().Perm()&0o022 != 0 {
		t.Errorf("others may write to it: %v, %v", info.Mode(), err)
	}
}

func (b *bench) wait(what string, ok func() bool) {
	b.t.Helper()
	for late := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			b.t.Fatalf("waited for %s", what)
		}
	}
}

// A file takes the place of a folder, and the other way round.
func TestPutReplacesTheOtherKind(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	file, folder := filepath.Join(from, "file"), filepath.Join(from, "folder")
	write(t, file, "#!file")
	write(t, filepath.Join(folder, "plugin"), "#!folder")
	b := &bench{t: t, plugins: to}
	for range 2 {
		for path, at := range map[string]string{file: "echo", folder: "echo/plugin"} {
			if err := put(path, to, "echo"); err != nil {
				t.Fatal(err)
			}
			b.holds(at, map[bool]string{true: "#!file", false: "#!folder"}[path == file])
		}
	}
}

// A program that does not stay in its place is told of: the build must say where it is.
func TestBuildMustLeaveThePlugin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "weather")
	write(t, filepath.Join(dir, "build"), "#!/bin/sh\nmkdir -p out/other\n")
	b := start(t, dir)
	b.says("its build must leave the plugin at out/weather, an executable file or a folder with one named plugin")
}

// The end of the loop ends a build, with all that it has started.
func TestStopEndsTheBuild(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "weather")
	write(t, filepath.Join(dir, "build"), "#!/bin/sh\nsleep 600 & echo $! >out.pid; wait\n")
	b := start(t, dir)
	var pid []byte
	b.wait("the build to run", func() bool {
		pid, _ = os.ReadFile(filepath.Join(dir, "out.pid"))
		return len(pid) > 0 && pid[len(pid)-1] == '\n'
	})
	b.stop()
	b.stop = func() {}
	b.wait("what the build has started to end", func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// What builds and editors leave is no source, and a save that changes nothing is none.
func TestWhatIsSource(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "weather")
	write(t, filepath.Join(dir, "build"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "main.py"), "1")
	s, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := func() print {
		t.Helper()
		p, err := s.holds()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := read()
	for _, name := range []string{"out/weather", "target/a.jar", "node_modules/m/index.js", ".git/index", "__pycache__/a.pyc", ".venv/bin/python3", "weather.egg-info/x", ".main.py.swp", "main.py~"} {
		write(t, filepath.Join(dir, name), "x")
		if read() != before {
			t.Errorf("%s counts", name)
		}
		if s.contains(filepath.Join(dir, name)) && strings.Count(name, "/") == 0 {
			t.Errorf("%s wakes the loop", name)
		}
	}
	write(t, filepath.Join(dir, "main.py"), "1")
	if read() != before {
		t.Error("a save without a change counts")
	}
	write(t, filepath.Join(dir, "main.py"), "2")
	if read() == before {
		t.Error("a change does not count")
	}
}

// What can't be a plugin's source is told with what to do.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "script"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "text"), "x")
	write(t, filepath.Join(dir, "a b", "build"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "scripted", "build"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "scripted", "main.go"), "package main\n")
	write(t, filepath.Join(dir, "go", "main.go"), "package main\n")
	write(t, filepath.Join(dir, "ready", "plugin"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "nothing", "readme"), "x")
	write(t, filepath.Join(dir, "jar", "plugin"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "jar", "pom.xml"), "<project/>")
	for name, want := range map[string]way{"script": asItIs, "scripted": byScript, "go": byGo, "ready": asItIs} {
		if s, err := Find(filepath.Join(dir, name)); err != nil || s.way != want || s.Name != name {
			t.Errorf("%s: %+v, %v; want %v", name, s, err, want)
		}
	}
	for name, want := range map[string]string{
		"text": "text is not executable", "a b": "a plugin has the name of its folder or file", "missing": "no such file",
		"nothing": "put an executable file named build into it, which leaves the plugin at out/nothing",
		"jar":     "put an executable file named build into it",
	} {
		if _, err := Find(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}

// Of a long output the end is kept, in whole lines.
func TestTail(t *testing.T) {
	var out tail
	for range 5000 {
		if _, err := out.Write([]byte("0123456789\n")); err != nil {
			t.Fatal(err)
		}
	}
	text := out.text()
	if !strings.HasPrefix(text, "…\n0123456789\n") || len(text) > most+10 || !strings.HasSuffix(text, "0123456789\n") {
		t.Errorf("%d bytes, from %.30q", len(text), text)
	}
}
