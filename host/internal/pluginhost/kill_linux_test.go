package pluginhost

import (
	"bufio"
	"context"
	"errors"
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
	dir := t.TempDir()
	if err := os.Symlink(b.dir, filepath.Join(dir, "plugins")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PLUGINHOST_TEST_HOST="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "ready ")))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.poll("the plugin to die with its host", func() bool { return dead(pid) })

	b.data = filepath.Join(dir, "data")
	b.host.o.DataDir = b.data
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

var errMainThread = errors.New("main thread")

// Row 7: the thread that starts plugins outlives them, whichever thread asked for it.
func TestPluginOutlivesThreadThatAskedForIt(t *testing.T) {
	b := newBench(t)
	b.run()
	path := filepath.Join(t.TempDir(), "sleeper")
	writeExecutable(t, path, []byte("#!/bin/sh\nexec sleep 600\n"))
	p := newProcess(path, b.dir, &lines{output: newOutput(b.host.log, 1000)}, b.host.spawner.start)
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
