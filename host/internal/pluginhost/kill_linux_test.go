package pluginhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Row 6 of the table: a killed host takes its plugins along, and the next start
// sweeps what it left.
func TestKilledHostLeavesNoPlugin(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	plugin := b.killedHost()
	b.poll("the plugin to die with its host", func() bool { return dead(plugin) })
	root := socketRoot(b.data)
	left, err := os.ReadDir(root)
	if err != nil || len(left) == 0 {
		t.Fatalf("the killed host should have left a folder for a socket in %s: %v", root, err)
	}
	b.run()
	b.event("ready echo", 1)
	if _, err := os.Stat(filepath.Join(root, left[0].Name())); !os.IsNotExist(err) {
		t.Errorf("the next start should have swept %s: %v", left[0].Name(), err)
	}
}

// P5: what a killed host's plugins have started, such as the real plugin behind a
// script, is gone before the next host starts anything.
func TestKilledHostsGrandchildren(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	b.put("echo", "")
	if err := os.Mkdir(filepath.Join(dir, "echo"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, number := filepath.Join(dir, "echo", "program"), filepath.Join(dir, "number")
	if err := os.Rename(filepath.Join(b.dir, "echo"), program); err != nil {
		t.Fatal(err)
	}
	b.script("echo", fmt.Sprintf("%s &\necho $! >%s\nwait", program, number))
	b.killedHost()
	text, err := os.ReadFile(number)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || dead(child) {
		t.Fatalf("process %d should have outlived the host: %v", child, err)
	}
	stranger := exec.Command("sleep", "600") // of a host on another data folder
	other, err := allOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	stranger.Env = []string{other.one(1).variable()}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	b.run()
	b.event("described echo", 1)
	if !dead(child) {
		t.Error("the plugin of the killed host lives beside the new one")
	}
	if !strings.Contains(b.log.String(), "1 processes of plugins were left by the last host: killed") {
		t.Error("nothing was said of it")
	}
	if dead(stranger.Process.Pid) {
		t.Error("another host's process was killed")
	}
}

// killedHost runs a host on the bench's folder until a plugin is ready, kills it,
// and lets the bench's own have its data folder. It returns the plugin's number.
func (b *bench) killedHost() (pid int) {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := os.Symlink(b.dir, filepath.Join(dir, "plugins")); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PLUGINHOST_TEST_HOST="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "ready "))); err != nil {
		b.t.Fatal(err)
	}
	b.data = filepath.Join(dir, "data")
	b.host.o.DataDir = b.data
	return pid
}

// What it costs to look for the processes that a plugin has started, among 300.
func BenchmarkKin(b *testing.B) {
	k, err := allOf(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for range 300 {
		cmd := exec.Command("sleep", "600")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
	}
	k = k.one(1)
	k.pipes = []string{"pipe:[1]", "pipe:[2]"}
	for b.Loop() {
		k.kill()
	}
}

var errMainThread = errors.New("main thread")

// Row 7: the thread that starts plugins outlives them, whichever thread asked for it.
func TestPluginOutlivesThreadThatAskedForIt(t *testing.T) {
	b := newBench(t)
	b.run()
	b.event("settled", 1)
	path := filepath.Join(t.TempDir(), "sleeper")
	writeExecutable(t, path, []byte("#!/bin/sh\nexec sleep 600\n"))
	p := newProcess(path, b.dir, b.host.kin.one(0), &lines{output: newOutput(b.host.log, 1000)}, b.host)
	started, over := make(chan error), make(chan struct{})
	defer close(over)
	ask := func() {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() { // the main thread never ends: leave it
			started <- errMainThread
			<-over
			return
		}
		started <- p.Start(context.Background())
		// The thread ends with this goroutine, which has it locked.
	}
	err := errMainThread
	for err == errMainThread {
		go ask()
		err = <-started
	}
	if err != nil {
		t.Fatal(err)
	}
	if p.exits(brisk().moment) {
		t.Error("the plugin died with the thread that asked for it")
	}
	p.kill("test is over")
	<-p.exited
}
