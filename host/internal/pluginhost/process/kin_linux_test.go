package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

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
	parent, err := Open(t.TempDir(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer parent.Close()
	path := filepath.Join(t.TempDir(), "sleeper")
	syscall.ForkLock.RLock() // no child may hold it open for writing
	err = os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 600\n"), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	p := parent.New(path, t.TempDir(), nil, NewOutput(hclog.NewNullLogger(), 1000), Limits{})
	started, over := make(chan error), make(chan struct{})
	defer close(over)
	ask := func() {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() { // the main thread never ends: leave it
			started <- errMainThread
			<-over
			return
		}
		started <- p.fork()
		// The thread ends with this goroutine, which has it locked.
	}
	err = errMainThread
	for err == errMainThread {
		go ask()
		err = <-started
	}
	if err != nil {
		t.Fatal(err)
	}
	if p.exits(time.Second) {
		t.Error("the plugin died with the thread that asked for it")
	}
	p.Kill("test is over")
	<-p.exited
}
