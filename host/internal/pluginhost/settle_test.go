package pluginhost

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/pluginhost/policy"
)

// looks is a script for a settler: at each time in milliseconds the folder
// holds these contents by name, and this is to come of it.
type look struct {
	ms      int
	present string // "a1 b2": name and content
	want    string // "found a", "settled a1", "busy a", "gone a"
}

func TestSettle(t *testing.T) {
	for name, looks := range map[string][]look{
		"still for long enough": {
			{0, "a1", "found a"}, {199, "a1", ""}, {200, "a1", "settled a1"}, {900, "a1", ""},
		},
		"written in pieces": {
			{0, "a1", "found a"}, {150, "a2", ""}, {300, "a3", ""}, {499, "a3", ""}, {500, "a3", "settled a3"},
		},
		"changed later": {
			{0, "a1", "found a"}, {200, "a1", "settled a1"}, {5000, "a2", ""}, {5200, "a2", "settled a2"},
		},
		"written for ever": { // told once
			{0, "a1", "found a"}, {100, "a2", ""}, {9900, "a3", ""}, {10000, "a4", "busy a"}, {10100, "a5", ""}, {10300, "a5", "settled a5"},
		},
		"told again after it had settled": {
			{0, "a1", "found a"}, {10100, "a1", "settled a1"}, {10200, "a2", ""}, {10300, "a3", ""}, {10500, "a3", "settled a3"},
		},
		"gone": {
			{0, "a1", "found a"}, {200, "a1", "settled a1"}, {1000, "", ""}, {5999, "", ""}, {6000, "", "gone a"}, {9000, "a1", "found a"},
		},
		"back again, unchanged": {
			{0, "a1", "found a"}, {200, "a1", "settled a1"}, {1000, "", ""}, {3000, "a1", ""}, {9000, "a1", ""},
		},
		"back again, changed": {
			{0, "a1", "found a"}, {200, "a1", "settled a1"}, {1000, "", ""}, {1100, "a2", ""}, {1300, "a2", "settled a2"},
		},
		"apart": {
			{0, "a1", "found a"}, {100, "a1 b1", "found b"}, {200, "a1 b1", "settled a1"}, {300, "a1 b1", "settled b1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, start := newSettler(usual), time.Unix(0, 0)
			for _, l := range looks {
				present := map[string]file{}
				for _, f := range strings.Fields(l.present) {
					present[f[:1]] = file{name: f[:1], size: int64(f[1])}
				}
				c := s.look(start.Add(time.Duration(l.ms)*time.Millisecond), present)
				var got []string
				for _, name := range c.found {
					got = append(got, "found "+name)
				}
				for _, f := range c.settled {
					got = append(got, "settled "+f.name+string(rune(f.size)))
				}
				for _, name := range c.busy {
					got = append(got, "busy "+name)
				}
				for _, name := range c.gone {
					got = append(got, "gone "+name)
				}
				slices.Sort(got)
				if strings.Join(got, ", ") != l.want {
					t.Errorf("at %d ms: %q, want %q", l.ms, got, l.want)
				}
			}
		})
	}
}

// Whoever waits as long as it is told misses nothing.
func TestSettleSaysWhenToLookAgain(t *testing.T) {
	s, now := newSettler(usual), time.Unix(0, 0)
	present := map[string]file{"a": {name: "a"}}
	if c := s.look(now, present); c.again != usual.quiet {
		t.Errorf("again after %v", c.again)
	}
	now = now.Add(usual.quiet)
	if c := s.look(now, present); len(c.settled) != 1 || c.again != 0 {
		t.Errorf("%+v", c)
	}
	if c := s.look(now, nil); c.again != usual.absence {
		t.Errorf("again after %v", c.again)
	}
	now = now.Add(usual.absence)
	if c := s.look(now, nil); len(c.gone) != 1 {
		t.Errorf("%+v", c)
	}
}

// What was hashed is what runs, whatever becomes of the file.
func TestStage(t *testing.T) {
	dir := t.TempDir()
	s := store{dir: filepath.Join(t.TempDir(), "echo")}
	put := func(content string) file {
		t.Helper()
		writeExecutable(t, filepath.Join(dir, "echo"), []byte(content))
		f, none := examine(dir, "echo")
		if none != "" {
			t.Fatal(none)
		}
		return f
	}
	stage := func(f file) binary {
		t.Helper()
		b, err := s.stage(f, nil)
		if err == nil {
			b, err = s.settle(b)
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
	got, err := os.ReadFile(first.path)
	if err != nil || string(got) != "one" || first.sha256 != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed" {
		t.Errorf("%q, %+v, %v", got, first, err)
	}
	if info, err := os.Stat(first.path); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// A file that is not the one that had settled is not taken.
	old := put("two")
	put("three")
	if _, err := s.stage(old, nil); err != errChanging {
		t.Errorf("a changed file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "echo")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.stage(old, nil); err == nil {
		t.Error("a removed file was staged")
	}

	// A copy that a power cut had cut short is made anew.
	if err := os.Chmod(first.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(first.path, 1); err != nil {
		t.Fatal(err)
	}
	stage(put("one"))
	if got, _ := os.ReadFile(first.path); string(got) != "one" {
		t.Errorf("the copy holds %q", got)
	}

	// What is needed stays, and what is being staged.
	if err := os.WriteFile(filepath.Join(s.dir, ".staging-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := stage(put("four"))
	stage(put("five"))
	if err := s.save(policy.Record{Proven: []string{first.sha256}}); err != nil {
		t.Fatal(err)
	}
	if err := s.keep(first.sha256, second.sha256); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 2+1+1+1+1 { // the record, the working folder, the mark
		t.Errorf("left: %v", left)
	}
	if r, err := s.load(); err != nil || !r.HasProven(first.sha256) {
		t.Errorf("the record is %+v, %v", r, err)
	}

	// A plugin that is gone leaves nothing but what it has written itself.
	diary := filepath.Join(s.work(), "diary")
	if err := os.WriteFile(diary, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.clear(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 2 { // with the mark
		t.Errorf("left: %v", left)
	}
	if err := os.Remove(diary); err != nil {
		t.Fatal(err)
	}
	if err := s.clear(); err != nil {
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
	s := store{dir: filepath.Join(t.TempDir(), "echo")}
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
		f, none := examine(dir, "echo")
		if none != "" {
			t.Fatal(none)
		}
		b, err := s.stage(f, nil)
		if err == nil {
			err = exec.Command(b.path).Run()
		}
		if err != nil {
			t.Fatalf("copy %d: %v", n, err)
		}
	}
}
