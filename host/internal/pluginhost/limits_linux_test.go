package pluginhost

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No core dumps, and a bound on open files.
func TestLimits(t *testing.T) {
	b := newBench(t)
	b.proven()
	limits := b.ask("echo", "limits")
	if !regexp.MustCompile(`Max core file size +0 +0 `).MatchString(limits) {
		t.Errorf("limits: %s", limits)
	}
	files := regexp.MustCompile(`Max open files +(\d+) +(\d+) `).FindStringSubmatch(limits)
	if files == nil || files[1] != files[2] || len(files[1]) > len("65536") {
		t.Errorf("limits: %s", limits)
	}
}

// When memory is short the kernel takes a plugin before the host, and what the
// plugin has started too, also what it had started before it could be told.
func TestPluginsGoBeforeTheHost(t *testing.T) {
	score := func(pid string) int {
		t.Helper()
		text, err := os.ReadFile("/proc/" + pid + "/oom_score_adj")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own := score("self")
	want := min(own+1000, 1000)
	b := newBench(t)
	b.proven()
	if limits := b.ask("echo", "limits"); !strings.HasSuffix(limits, fmt.Sprintf("oom_score_adj %d\n", want)) {
		t.Errorf("%s, want %d", limits, want)
	}
	if got := score(b.ask("echo", "child")); got != want {
		t.Errorf("its child: %d, want %d", got, want)
	}
	early := exec.Command("sleep", "600") // as if it had been there before
	early.Env = []string{mark(t, b.data, 2)}
	if err := early.Start(); err != nil {
		t.Fatal(err)
	}
	defer early.Wait()
	defer early.Process.Kill()
	b.tell("echo", "kill")
	b.event("ready echo", 2)
	if got := score(strconv.Itoa(early.Process.Pid)); got != want {
		t.Errorf("one that was there before: %d, want %d", got, want)
	}
	if now := score("self"); now != own {
		t.Errorf("the host: %d, was %d", now, own)
	}
}

// Over its memory limit a plugin is killed, and says so; that is a crash. What
// its children use counts.
func TestMemoryLimit(t *testing.T) {
	for _, how := range []string{"grow", "raise"} {
		t.Run(how, func(t *testing.T) { memoryLimit(t, how) })
	}
}

func memoryLimit(t *testing.T, how string) {
	b := newBench(t)
	b.host.limits.weigh = 50 * time.Millisecond
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour, MemoryMax: 150 << 20} }
	b.proven()
	b.tell("echo", how)
	if s := b.state("echo", Backoff); !regexp.MustCompile(`^uses \d+ MiB of memory, more than memory_max allows \(150 MiB\)$`).MatchString(s.Reason) {
		t.Errorf("status %+v", s)
	}
}

// One plugin can't fill the host's log; what is dropped is counted.
func TestLogIsBounded(t *testing.T) {
	b := newBench(t)
	b.host.limits.lines = 100
	b.proven()
	b.ask("echo", "print")
	b.poll("the count", func() bool {
		b.ask("echo", "print") // a second later, maybe
		return strings.Contains(b.log.String(), "plugin printed too much: lines were dropped: plugin=echo count=")
	})
}

// The level of one plugin changes while it runs, and back.
func TestSetLogLevel(t *testing.T) {
	b := newBench(t)
	b.proven()
	if err := b.host.SetLogLevel("echo", "debug"); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: level debug", 1)
	b.ask("echo", "print")
	b.poll("its debug lines", func() bool { return strings.Contains(b.log.String(), "debug line: plugin=echo") })
	b.tell("echo", "kill") // and the next process
	b.event("ready echo", 2)
	if got := b.ask("echo", "level"); got != "debug" {
		t.Errorf("level %s", got)
	}
	if err := b.host.SetLogLevel("", ""); err != nil {
		t.Fatal(err)
	}
	b.event("said echo: level info", 1)
	if err := b.host.SetLogLevel("echo", "loud"); err == nil {
		t.Error("a level that is none")
	}
}

// A level that is set before the plugin has its config comes with that.
func TestLogLevelWhileStarting(t *testing.T) {
	b := newBench(t)
	for range maxStarting { // so that no process can be started yet
		b.host.others <- struct{}{}
	}
	b.put("echo", "")
	b.run()
	b.state("echo", Starting)
	if err := b.host.SetLogLevel("echo", "debug"); err != nil {
		t.Fatal(err)
	}
	<-b.host.others
	b.event("ready echo", 1)
	if got := b.ask("echo", "level"); got != "debug" {
		t.Errorf("level %s", got)
	}
}

// Copies on a file system that runs no programs: the mount is named, by check too.
func TestNoexec(t *testing.T) {
	b := newBench(t)
	if err := unix.Mount("tmpfs", b.data, "tmpfs", unix.MS_NOEXEC, "size=256m"); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	defer unix.Unmount(b.data, unix.MNT_DETACH)
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour} }
	b.put("echo", "")
	b.script("script", "exit 1")
	want := "whose file system is mounted noexec: mount -o remount,exec it, or put data_dir elsewhere"
	if got := Unfit(filepath.Join(b.data, "not", "yet")); len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("%q", got)
	}
	if got := Unfit(b.dir); got != nil {
		t.Errorf("a good one: %q", got)
	}
	b.run()
	for _, name := range []string{"echo", "script"} {
		if s := b.state(name, Backoff); !strings.HasSuffix(s.Reason, want) {
			t.Errorf("%+v", s)
		}
	}
	b.stop()
}

// Under a shell that does not exec, the memory of what it runs counts, and it dies with
// the shell.
func TestBelowAShell(t *testing.T) {
	b := newBench(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.script("echo", "(setsid "+self+" echo)\ntrue")
	b.run()
	b.event("ready echo", 1)
	if s := b.state("echo", Running); s.Memory < 8<<20 {
		t.Errorf("%d bytes for a shell and a plugin", s.Memory)
	}
	child := b.ask("echo", "pid")
	pid, err := strconv.Atoi(child)
	if err != nil {
		t.Fatal(err)
	}
	shell := b.status("echo").PID
	if shell == pid {
		t.Fatal("the shell is the plugin")
	}
	if err := syscall.Kill(shell, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.event("ready echo", 2)
	if !dead(pid) {
		t.Error("the plugin outlived its shell")
	}
}
