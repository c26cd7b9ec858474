package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
)

// variants are bad versions of the scribe, and what becomes of each.
var variants = []string{"crash-start", "crash-100", "refuse", "truncated", "garbage", "grow", "hang"}

// buildVariants makes the programs, by name; "" is the good one.
func buildVariants(t *testing.T, good []byte) map[string][]byte {
	t.Helper()
	dir, programs := t.TempDir(), map[string][]byte{"": good, "truncated": good[:len(good)-4096]}
	for _, name := range variants {
		if programs[name] != nil {
			continue
		}
		out, err := exec.Command("go", "build", "-ldflags=-s -w -X main.variant="+name, "-o", filepath.Join(dir, name), "./testdata/scribe").CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
		if programs[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return programs
}

// deployments are ways to put a new scribe into a plugins folder; each works on
// what any other has left there. pluginhost's TestNoticing has more.
var deployments = []func(dir string, content []byte) error{
	func(dir string, content []byte) error { // mv
		return replace(filepath.Join(dir, "scribe"), content)
	},
	func(dir string, content []byte) error { // cp, over what runs
		return os.WriteFile(filepath.Join(dir, "scribe"), content, 0o700)
	},
	func(dir string, content []byte) error { // a link is switched
		target := fmt.Sprintf("%s-%s", dir, sumOf(content)[:8])
		return errors.Join(os.WriteFile(target, content, 0o700), relink(target, filepath.Join(dir, "scribe")))
	},
	func(dir string, content []byte) error { // the executable bit comes last
		name := filepath.Join(dir, "scribe")
		return errors.Join(os.Chmod(name, 0o600), os.WriteFile(name, content, 0o600), os.Chmod(name, 0o700))
	},
	func(dir string, content []byte) error { // Kubernetes: scribe -> ..data/scribe, ..data is switched
		version := "..version-" + sumOf(content)[:8]
		return errors.Join(
			os.MkdirAll(filepath.Join(dir, version), 0o700),
			os.WriteFile(filepath.Join(dir, version, "scribe"), content, 0o700),
			relink(version, filepath.Join(dir, "..data")),
			relink("..data/scribe", filepath.Join(dir, "scribe")))
	},
	func(dir string, content []byte) error { // the whole folder
		return errors.Join(
			os.Mkdir(dir+".next", 0o700),
			os.WriteFile(filepath.Join(dir+".next", "scribe"), content, 0o700),
			os.Rename(dir, fmt.Sprintf("%s.%s", dir, sumOf(content)[:8])),
			os.Rename(dir+".next", dir))
	},
}

// replace puts a file in its place at once.
func replace(name string, content []byte) error {
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	return errors.Join(os.WriteFile(tmp, content, 0o700), os.Rename(tmp, name))
}

// relink puts a link in its place at once.
func relink(target, name string) error {
	tmp := filepath.Join(filepath.Dir(name), ".link")
	return errors.Join(os.Symlink(target, tmp), os.Rename(tmp, name))
}

// P4, P5, P7, P8, P9: a plugin is replaced 50 times under load, by every way of
// deploying, every other time by a version that is no good. Nothing is lost, out
// of a lane's order or answered twice, and what should serve at the end does.
func TestReload(t *testing.T) {
	w := newWorld(t)
	write(t, filepath.Join(w.dir, "config.hcl"), usualConfig+fmt.Sprintf(`
plugin "scribe" {
  suspect_after = 1000000
  probation     = "4s"
  memory_max    = "200MiB"
  config        = { book = %q, work = "5ms" }
  restart_backoff {
    min = "10ms"
    max = "50ms"
  }
}
`, w.bookFile()), 0o600)
	good, err := os.ReadFile(filepath.Join(w.dir, "plugins", "scribe"))
	if err != nil {
		t.Fatal(err)
	}
	programs := buildVariants(t, good)
	w.start()
	w.serves(sumOf(good))
	var took []time.Duration // from the verdict to the old version's serving
	version := 0
	put := func(variant string) (sum string) {
		version++
		content := slices.Concat(programs[variant], []byte("version "+strconv.Itoa(version)))
		if variant == "truncated" {
			content = programs[variant]
		}
		way := deployments[version%len(deployments)]
		if err := way(filepath.Join(w.dir, "plugins"), content); err != nil {
			t.Fatal(err)
		}
		return sumOf(content)
	}
	hung := false
	for n := range 25 {
		sum := put("")
		serving := w.serves(sum)
		if n%9 == 0 {
			w.proves(sum)
		}
		variant := variants[n%len(variants)]
		bad := put(variant)
		switch {
		case variant == "hang" && hung, variant == "truncated": // superseded by the next, or as good as the whole
			w.until("the version "+variant+" is tried", func(p admin.Plugin) bool {
				return p.Candidate == bad || p.SHA256 == bad || p.Refusal != nil && p.Refusal.SHA256 == bad
			})
		default:
			hung = hung || variant == "hang"
			p := w.until("the version "+variant+" is refused", func(p admin.Plugin) bool { return p.Refusal != nil && p.Refusal.SHA256 == bad })
			back := w.until("an older version serves", func(p admin.Plugin) bool { return p.SHA256 != bad && p.State == "running" })
			if variant == "crash-100" || variant == "grow" {
				took = append(took, back.Started.Sub(p.Refusal.At))
			} else if back.PID != serving.PID {
				t.Errorf("%s: the old version was process %d, and is %d", variant, serving.PID, back.PID)
			}
		}
	}
	last := put("")
	w.serves(last)
	w.proves(last)
	w.settles()
	w.judgeLanes(w.book())
	slices.Sort(took)
	t.Logf("rolled back %d times, from the verdict to the old version's being there: %v", len(took), took)
	if len(took) == 0 {
		t.Error("no version was rolled back")
	} // how long it took is for a person to read: under a second on a machine that does nothing else
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// plugin asks the host for the plugin's state.
func (w *world) plugin() (admin.Plugin, error) {
	ready, err := w.host.says(started)
	if err != nil {
		return admin.Plugin{}, err
	}
	status, err := adminOf(ready[1])
	if err != nil {
		return admin.Plugin{}, err
	}
	for _, p := range status.Plugins {
		if p.Name == w.name {
			return p, nil
		}
	}
	return admin.Plugin{}, fmt.Errorf("the host knows no %s", w.name)
}

// until waits for a state of the plugin.
func (w *world) until(what string, ok func(admin.Plugin) bool) (p admin.Plugin) {
	w.t.Helper()
	var err error
	if !eventually(func() bool { p, err = w.plugin(); return err == nil && ok(p) }) {
		w.t.Fatalf("waited until %s: %+v, %v, refusal %+v\n%s", what, p, err, p.Refusal, w.host.tail())
	}
	return p
}

func (w *world) serves(sum string) admin.Plugin {
	w.t.Helper()
	return w.until("that version serves", func(p admin.Plugin) bool { return p.SHA256 == sum && p.State == "running" })
}

func (w *world) proves(sum string) {
	w.t.Helper()
	w.until("that version is proven", func(p admin.Plugin) bool { return p.SHA256 == sum && p.State == "running" && p.Probation.IsZero() })
}

// judgeLanes compares the books, of processes that may overlap.
func (w *world) judgeLanes(book []handling) {
	w.t.Helper()
	if err := checkLanes(book, w.judgeAnswers()); err != nil {
		w.t.Error(err)
	}
}

// judgeAnswers compares what devices have sent with what they have got, on a connection
// that never ended. It gives how many each has sent.
func (w *world) judgeAnswers() (sent map[string]int) {
	w.t.Helper()
	sent = map[string]int{}
	for i := range crashDevices {
		d, _ := w.sim.Device(fmt.Sprintf("device-%d", i+1))
		sent[d.Token] = int(d.Sent)
		if err := checkAnswers(d, true); err != nil {
			w.t.Error(err)
		}
	}
	c := w.sim.Counts()
	if c.WrongAcks+c.BadAcks+c.OverLimit+c.DuplicateDown > 0 || c.Downstreams != c.Created {
		w.t.Errorf("books of the simulator: %+v", c)
	}
	w.t.Logf("%d upstreams, %d answers", c.Created, c.Downstreams)
	return sent
}

// checkLanes says what is wrong with the handlings of all devices' upstreams
// when several processes are at work: in one lane, one after the other (P5).
func checkLanes(book []handling, sent map[string]int) error {
	newest, open := map[string]int{}, map[string]handling{}
	for i, h := range book {
		before, busy := open[h.device]
		switch {
		case h.what == "end" && before.instance != h.instance:
			return fmt.Errorf("line %d: %s's %d ends in a process whose lane another one has (P5)", i+1, h.device, h.n)
		case h.what == "end":
			delete(open, h.device)
		case busy && before.instance == h.instance:
			return fmt.Errorf("line %d: %s's %d begins while %d is handled (P5)", i+1, h.device, h.n, before.n)
		case h.n != newest[h.device] && h.n != newest[h.device]+1:
			return fmt.Errorf("line %d: %s's %d begins behind %d (P5, or P1 if one is lost)", i+1, h.device, h.n, newest[h.device])
		default: // what another process has open has died with it, or its end would come
			newest[h.device], open[h.device] = h.n, h
		}
	}
	for device, n := range sent {
		if newest[device] != n {
			return fmt.Errorf("%s sent %d, and %d is the last that was handled (P8)", device, n, newest[device])
		}
	}
	return nil
}

// The soak starts and stops a plugin 1,000 times, by new contents that take over
// from one another, and prints what that leaves behind. make soak runs it.
func TestSoak(t *testing.T) {
	cycles, _ := strconv.Atoi(os.Getenv("BALHOST_SOAK")) // none: not asked for
	if cycles == 0 {
		t.Skip("make soak runs it")
	}
	w := newWorld(t)
	write(t, filepath.Join(w.dir, "config.hcl"), usualConfig+"\nplugin \"scribe\" {\n  probation = \"0s\"\n}\n", 0o600)
	w.sim.StopDevices()
	path := filepath.Join(w.dir, "plugins", "scribe")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	w.serves(sumOf(good))
	var first, last remains
	fmt.Printf("%8s %12s %8s %10s %8s\n", "starts", "host memory", "its fds", "processes", "files")
	for n := 1; n <= cycles; n++ {
		content := slices.Concat(good, []byte("cycle "+strconv.Itoa(n)))
		if err := replace(path, content); err != nil {
			t.Fatal(err)
		}
		w.serves(sumOf(content))
		if n%max(1, cycles/20) != 0 {
			continue
		}
		w.alone()
		last = w.remains()
		if first.memory == 0 && n >= cycles/4 { // the first cycles fill caches and pools
			first = last
		}
		fmt.Printf("%8d %8.1f MiB %8d %10d %8d\n", n, float64(last.memory)/(1<<20), last.fds, last.processes, last.files)
	}
	if last.fds > first.fds+5 || last.processes > first.processes || last.files > first.files+2 || last.memory > first.memory*3/2 {
		t.Errorf("after a quarter %+v, in the end %+v", first, last)
	}
	if err := w.host.stop(); err != nil {
		t.Error(err)
	}
}

// remains is what a host has in use.
type remains struct {
	memory                int64
	fds, processes, files int
}

// alone waits until only one process of the plugin is left.
func (w *world) alone() {
	w.t.Helper()
	if !eventually(func() bool { return w.remains().processes == 1 }) {
		w.t.Fatalf("processes of the host: %d", w.remains().processes)
	}
}

func (w *world) remains() (r remains) {
	w.t.Helper()
	proc := fmt.Sprintf("/proc/%d/", w.host.cmd.Process.Pid)
	statm, err := os.ReadFile(proc + "statm")
	if err != nil {
		w.t.Skip("needs /proc: ", err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		w.t.Fatal(err)
	}
	r.memory = resident * int64(os.Getpagesize())
	fds, _ := os.ReadDir(proc + "fd")
	r.fds = len(fds)
	tasks, _ := filepath.Glob(proc + "task/*/children")
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		r.processes += len(strings.Fields(string(children)))
	}
	_ = filepath.WalkDir(filepath.Join(w.dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "ledger" {
			return filepath.SkipDir
		}
		r.files++
		return nil
	})
	return r
}
