package artefact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folder makes a plugin's folder of files by path; one that ends in "/" is a folder, one
// with "->" a link, and plugin and what lies in bin can be run.
func folder(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for path, content := range files {
		full := filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(full), 0o755)
		target, isLink := strings.CutPrefix(content, "->")
		switch {
		case err != nil:
		case strings.HasSuffix(path, "/"):
			err = os.MkdirAll(full, 0o755)
		case isLink:
			err = os.Symlink(target, full)
		case path == ProgramName || strings.HasPrefix(path, "bin/"):
			writeExecutable(t, full, []byte(content))
		default:
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// app is a folder that may be a plugin.
var app = map[string]string{
	ProgramName: "#!/bin/sh\n", "lib/a.js": "a", "lib/b.js": "b", "empty/": "", "bin/tool": "t", "main": "->bin/tool", "lib/up": "->../bin",
}

func found(t *testing.T, dir string) File {
	t.Helper()
	f, _, none := examine(dir, "app", Usual)
	if none != "" {
		t.Fatal(none)
	}
	return f
}

// The hash of a folder follows from names, contents, links and the permission to run,
// and from nothing else: other owners, times, places and Python's bytecode don't count.
func TestTreeHash(t *testing.T) {
	first, err := sumTree(folder(t, t.TempDir(), app))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(dir string) error
		same   bool
	}{
		"times":          {func(dir string) error { return os.Chtimes(dir+"/lib/a.js", time.Unix(1, 0), time.Unix(2, 0)) }, true},
		"mode of no use": {func(dir string) error { return os.Chmod(dir+"/lib/a.js", 0o600) }, true},
		"bytecode": {func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/lib/__pycache__", 0o755), os.WriteFile(dir+"/lib/__pycache__/a.pyc", []byte("x"), 0o644))
		}, true},
		"may run":       {func(dir string) error { return os.Chmod(dir+"/lib/a.js", 0o755) }, false},
		"content":       {func(dir string) error { return os.WriteFile(dir+"/lib/a.js", []byte("A"), 0o644) }, false},
		"name":          {func(dir string) error { return os.Rename(dir+"/lib/a.js", dir+"/lib/c.js") }, false},
		"place":         {func(dir string) error { return os.Rename(dir+"/lib/a.js", dir+"/a.js") }, false},
		"new file":      {func(dir string) error { return os.WriteFile(dir+"/lib/new", nil, 0o644) }, false},
		"new folder":    {func(dir string) error { return os.Mkdir(dir+"/lib/new", 0o755) }, false},
		"link's target": {func(dir string) error { return errors.Join(os.Remove(dir+"/main"), os.Symlink("plugin", dir+"/main")) }, false},
		"file for link": {func(dir string) error {
			return errors.Join(os.Remove(dir+"/main"), os.WriteFile(dir+"/main", []byte("bin/tool"), 0o644))
		}, false},
	} {
		dir := folder(t, t.TempDir(), app)
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		sum, err := sumTree(dir)
		if err != nil || (sum == first) != c.same {
			t.Errorf("%s: the same hash %v, want %v; %v", name, sum == first, c.same, err)
		}
	}
}

// What was hashed is what runs: the copy stays as it is, whatever becomes of the folder.
// It is removed whole, although nobody can write to it.
func TestStageFolder(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(t.TempDir(), "app")
	source := folder(t, filepath.Join(dir, "app"), app)
	put := func() Copy {
		t.Helper()
		draft, err := s.stage(found(t, dir), nil)
		if err == nil {
			err = errors.Join(s.Make(), s.Put(draft), s.Sync(draft.SHA256))
		}
		if err != nil {
			t.Fatal(err)
		}
		return draft
	}
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	first := put()
	if sum, err := sumTree(source); err != nil || sum != first.SHA256 {
		t.Errorf("its hash is %s, its folder's %s, %v", first.SHA256, sum, err)
	}
	program, copy := s.Program(first.SHA256)
	if copy != s.Path(first.SHA256) || program != filepath.Join(copy, ProgramName) {
		t.Errorf("%s in %s", program, copy)
	}
	for path, want := range map[string]fs.FileMode{"": 0o500, "lib": 0o500, "lib/a.js": 0o400, ProgramName: 0o500, "bin/tool": 0o500} {
		if info, err := os.Stat(filepath.Join(copy, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v", path, info, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(copy, "main")); err != nil || string(text) != "t" {
		t.Errorf("its link: %q, %v", text, err)
	}
	if again := put(); again.SHA256 != first.SHA256 {
		t.Error("the same folder has another hash")
	}
	if err := os.WriteFile(source+"/lib/a.js", []byte("A"), 0o644); err != nil {
		t.Fatal(err)
	}
	second := put()
	if text, _ := os.ReadFile(filepath.Join(copy, "lib/a.js")); string(text) != "a" || second.SHA256 == first.SHA256 {
		t.Errorf("the copy has changed: %q", text)
	}
	if names, err := os.ReadDir(filepath.Dir(copy)); err != nil || len(names) != 4 { // two copies, work, the mark
		t.Errorf("%v, %v", names, err)
	}
	if err := s.remove(func(name string) bool { return name == first.SHA256 }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(copy); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old copy: %v", err)
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(copy)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the store is left: %v", err)
	}
}

// A copy that is damaged is found by a new host, removed and said so.
func TestDamagedFolder(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	folder(t, filepath.Join(dir, "app"), app)
	s := NewStore(data, "app")
	draft, err := s.stage(found(t, dir), nil)
	if err == nil {
		err = s.Put(draft)
	}
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := NewStore(data, "app").Whole(draft.SHA256); !whole || err != nil {
		t.Errorf("%v, %v", whole, err)
	}
	file := filepath.Join(s.Path(draft.SHA256), "lib/a.js")
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("?"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if whole, err := NewStore(data, "app").Whole(draft.SHA256); whole || !errors.Is(err, errDamaged) {
		t.Errorf("a damaged one: %v, %v", whole, err)
	}
	if _, err := os.Stat(s.Path(draft.SHA256)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

// What a folder must not have is named, with the mend.
func TestVetFolder(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir string) error
		reason string
	}{
		"good":         {func(string) error { return nil }, ""},
		"link out":     {func(dir string) error { return os.Symlink("../../etc", dir+"/lib/etc") }, "leads out of the folder"},
		"absolute":     {func(dir string) error { return os.Symlink(dir+"/lib", dir+"/l") }, "leads out of the folder"},
		"python":       {func(dir string) error { return os.Symlink("/usr/bin/python3", dir+"/bin/python3") }, "python3 -m venv --copies"},
		"by two":       {func(dir string) error { return errors.Join(os.Symlink("l2", dir+"/l1"), os.Symlink("../x", dir+"/l2")) }, "leads out of the folder"},
		"writable":     {func(dir string) error { return os.Chmod(dir+"/lib/a.js", 0o666) }, "can be changed by anybody"},
		"its folder":   {func(dir string) error { return os.Chmod(dir+"/lib", 0o777) }, "can be changed by anybody"},
		"sticky":       {func(dir string) error { return os.Chmod(dir+"/lib", 0o777|fs.ModeSticky) }, "can be changed by anybody"},
		"FIFO":         {func(dir string) error { return syscall.Mkfifo(dir+"/lib/fifo", 0o600) }, "is no file, folder or link"},
		"one too much": {func(dir string) error { return os.WriteFile(dir+"/more", nil, 0o644) }, "has more than 9 entries: bundle its modules, or raise plugins.max_entries"},
		"too large":    {func(dir string) error { return os.WriteFile(dir+"/lib/a.js", make([]byte, 1000), 0o644) }, "raise plugins.max_size"},
	} {
		dir := t.TempDir()
		b := Bounds{Bytes: 500, Entries: 11}
		if name == "one too much" {
			b.Entries = 9
		}
		if err := c.change(folder(t, filepath.Join(dir, "app"), app)); err != nil {
			t.Fatal(err)
		}
		f, _, none := examine(dir, "app", b)
		if none != "" {
			t.Fatalf("%s: %s", name, none)
		}
		if reason := vet(f, dir); (reason == "") != (c.reason == "") || !strings.Contains(reason, c.reason) {
			t.Errorf("%s: %q, want %q", name, reason, c.reason)
		}
	}
}

// A folder without a program to start is none, and says what is missing. One that may be
// in the making removes no plugin.
func TestNoPluginFolder(t *testing.T) {
	dir := t.TempDir()
	folder(t, filepath.Join(dir, "app"), map[string]string{"lib/a.js": "a"})
	found, err := Scan(dir, Usual)
	if err != nil || found.None["app"] != withoutProgram || !found.Unclear["app"] {
		t.Errorf("%+v, %v", found, err)
	}
	if err := os.WriteFile(dir+"/app/plugin", []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if found, err = Scan(dir, Usual); err != nil || !strings.Contains(found.None["app"], "chmod +x") || found.Unclear["app"] {
		t.Errorf("%+v, %v", found, err)
	}
	if err := os.Chmod(dir+"/app/plugin", 0o755); err != nil {
		t.Fatal(err)
	}
	found, err = Scan(dir, Usual)
	if _, there := found.Present["app"]; err != nil || !there || !slices.Contains(found.Folders, dir+"/app/lib") {
		t.Errorf("%+v, %v", found, err)
	}
}

// A folder that is being copied changes at each look, and is not taken. One that changed
// while it was copied is not taken either. Python's bytecode is no change.
func TestFolderSettles(t *testing.T) {
	dir := t.TempDir()
	source := folder(t, filepath.Join(dir, "app"), app)
	st := Stability{Quiet: time.Second, Patience: time.Minute, Absence: time.Minute}
	now := time.Unix(1000, 0)
	look := func(after time.Duration) int {
		t.Helper()
		now = now.Add(after)
		found, err := Scan(dir, Usual)
		if err != nil {
			t.Fatal(err)
		}
		return len(st.Look(now, found.Present).Stable)
	}
	look(0)
	for i := range 3 {
		if err := os.WriteFile(source+"/lib/"+strings.Repeat("x", i+1), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if n := look(4 * time.Second); n != 0 {
			t.Errorf("it is taken while it is copied")
		}
	}
	if n := look(5 * time.Second); n != 1 {
		t.Error("it is not taken when it is quiet")
	}
	f := found(t, dir)
	folder(t, source, map[string]string{"lib/__pycache__/a.pyc": "x"})
	if f != found(t, dir) {
		t.Error("Python's bytecode is a change")
	}
	if err := os.WriteFile(source+"/lib/a.js", []byte("B"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := NewStore(t.TempDir(), "app")
	if _, err := s.stage(f, nil); !errors.Is(err, ErrChanging) {
		t.Errorf("one that has changed is staged: %v", err)
	}
	if left, _ := filepath.Glob(s.Path(stagingPrefix + "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
