package artefact

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file that is too big is refused before it is copied, by its size alone.
func TestTooBigAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "big")
	look := func(size int64) string {
		t.Helper()
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		f, _, none := examine(dir, "big", Usual)
		if none != "" {
			t.Fatal(none)
		}
		return vet(f, dir)
	}
	writeExecutable(t, path, nil)
	if reason := look(512 << 20); reason != "" {
		t.Errorf("512 MiB: %s", reason)
	}
	want := "its file " + path + " has 5120 MiB, a plugin's may have 512: it is no plugin, or has to be made smaller, or plugins.max_size raised"
	if got := look(5 << 30); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A copy holds no more than the file had when it was looked at, however it grows.
func TestStagingIsBounded(t *testing.T) {
	dir := t.TempDir()
	writeExecutable(t, filepath.Join(dir, "echo"), []byte("one"))
	f, _, none := examine(dir, "echo", Usual)
	if none != "" {
		t.Fatal(none)
	}
	if err := os.WriteFile(f.real, bytes.Repeat([]byte("x"), 1<<20), 0o755); err != nil {
		t.Fatal(err)
	}
	copied := &bytes.Buffer{}
	if _, err := f.copyTo(copied, nil); err != ErrChanging || copied.Len() != 3 {
		t.Errorf("%d bytes were copied of 3, %v", copied.Len(), err)
	}
}

// A host that starts on a disk without room runs what it has a whole copy of, and
// nothing else: what is stored goes on. // P10
func TestNoRoomButStaged(t *testing.T) {
	dir, to := t.TempDir(), NewStore(t.TempDir(), "echo")
	free := int64(1 << 40)
	y := Yard{Folder: dir, DataDir: dir, Spare: 1 << 30, Free: func(string) (int64, error) { return free, nil }}
	look := func(content string) File {
		t.Helper()
		writeExecutable(t, filepath.Join(dir, "echo"), []byte(content))
		f, _, none := examine(dir, "echo", Usual)
		if none != "" {
			t.Fatal(none)
		}
		return f
	}
	one := look("one")
	b, err := y.Stage(one, to)
	if err == nil {
		err = to.Put(b)
		b.Path = to.Path(b.SHA256)
	}
	if err != nil {
		t.Fatal(err)
	}
	free = 1 << 20
	if again, err := y.Stage(one, to); err != nil || again != b {
		t.Errorf("the same content: %+v, %v; want %+v", again, err, b)
	}
	if b, err := y.Stage(look("two"), to); err == nil {
		t.Errorf("other content was staged as %+v", b)
	}
	if err := errors.Join(os.Chmod(b.Path, 0o700), os.WriteFile(b.Path, []byte("on"), 0o500)); err != nil { // as a power cut leaves it
		t.Fatal(err)
	}
	if b, err := y.Stage(look("one"), to); err == nil {
		t.Errorf("a copy that was cut short was taken: %+v", b)
	}
}

// What a host left that was killed while it copied goes, and nothing else.
func TestSweep(t *testing.T) {
	data := t.TempDir()
	if err := Sweep(data); err != nil {
		t.Errorf("without plugins: %v", err)
	}
	folder, other := filepath.Join(data, "plugins", "echo"), filepath.Join(data, "plugins", "other")
	if err := errors.Join(NewStore(data, "echo").Make(), os.Mkdir(other, 0o700)); err != nil {
		t.Fatal(err)
	}
	left, kept := filepath.Join(folder, ".staging-1"), []string{
		filepath.Join(folder, "abc"), filepath.Join(folder, ".staging-mine"), filepath.Join(folder, "work", ".staging-1"), filepath.Join(other, ".staging-1"),
	}
	for _, path := range append(kept, left) {
		if err := os.WriteFile(path, []byte("x"), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(data); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", left, err)
	}
	for _, path := range kept {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}
