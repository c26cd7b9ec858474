package artefact

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"balhost/host/internal/pluginhost/policy"
)

// writeExecutable puts a file in its place at once, as mv does.
func writeExecutable(t *testing.T, path string, content []byte) {
	t.Helper()
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	// As in stage: no child of this process may hold it open for writing.
	syscall.ForkLock.RLock()
	err := os.WriteFile(tmp, content, 0o755)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What was hashed is what runs, whatever becomes of the file.
func TestStage(t *testing.T) {
	dir := t.TempDir()
	s := NewStore(t.TempDir(), "echo")
	put := func(content string) File {
		t.Helper()
		writeExecutable(t, filepath.Join(dir, "echo"), []byte(content))
		f, _, none := examine(dir, "echo", Usual)
		if none != "" {
			t.Fatal(none)
		}
		return f
	}
	stage := func(f File) Copy {
		t.Helper()
		b, err := s.stage(f, nil)
		if err == nil {
			err = s.Put(b)
			b.Path = s.Path(b.SHA256)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := stage(put("one"))
	if err := os.WriteFile(filepath.Join(dir, "echo"), []byte("overwritten"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(first.Path)
	if err != nil || string(got) != "one" || first.SHA256 != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed" {
		t.Errorf("%q, %+v, %v", got, first, err)
	}
	if info, err := os.Stat(first.Path); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// A file that is not the one that had settled is not taken.
	old := put("two")
	put("three")
	if _, err := s.stage(old, nil); err != ErrChanging {
		t.Errorf("a changed file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "echo")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.stage(old, nil); err == nil {
		t.Error("a removed file was staged")
	}

	// A copy that a power cut had cut short is made anew.
	if err := os.Chmod(first.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(first.Path, 1); err != nil {
		t.Fatal(err)
	}
	stage(put("one"))
	if got, _ := os.ReadFile(first.Path); string(got) != "one" {
		t.Errorf("the copy holds %q", got)
	}

	// What is needed stays, and what is being staged.
	if err := os.WriteFile(filepath.Join(s.dir, ".staging-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := stage(put("four"))
	stage(put("five"))
	if err := s.Remember(policy.Record{Proven: []string{first.SHA256}}, []string{first.SHA256, second.SHA256}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 2+1+1+1+1 { // the record, the working folder, the mark
		t.Errorf("left: %v", left)
	}
	if r, err := s.Load(); err != nil || !r.HasProven(first.SHA256) {
		t.Errorf("the record is %+v, %v", r, err)
	}

	// A plugin that is gone leaves nothing but what it has written itself.
	diary := filepath.Join(s.Work(), "diary")
	if err := os.WriteFile(diary, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 2 { // with the mark
		t.Errorf("left: %v", left)
	}
	if err := os.Remove(diary); err != nil {
		t.Fatal(err)
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

// A copy can be run at once, however many processes are forked meanwhile: a child
// that inherited it open for writing would make that fail (golang/go#22315).
func TestStagedCopyRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("forks a lot")
	}
	dir := t.TempDir()
	s := NewStore(t.TempDir(), "echo")
	over := make(chan struct{})
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_ = exec.Command("true").Run()
				}
			}
		})
	}
	defer forks.Wait()
	defer close(over)
	for n := range 200 {
		writeExecutable(t, filepath.Join(dir, "echo"), fmt.Appendf(nil, "#!/bin/sh\n# %d\n", n))
		f, _, none := examine(dir, "echo", Usual)
		if none != "" {
			t.Fatal(none)
		}
		b, err := s.stage(f, nil)
		if err == nil {
			err = exec.Command(b.Path).Run()
		}
		if err != nil {
			t.Fatalf("copy %d: %v", n, err)
		}
	}
}
