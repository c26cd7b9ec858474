package process

import (
	"os/exec"
	"syscall"
	"time"
)

// sysProcAttr gives the process a group of its own.
//
// Weak: macOS has no death signal, so plugins outlive a killed host there, until
// their session's end makes the SDK exit. macOS is for development only.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the end of the process, and runs last.
//
// Weak: its number could in theory be another's by the time last runs.
func reap(cmd *exec.Cmd, last func()) {
	_ = cmd.Wait() // its error is in ProcessState
	last()
}

// inherits: launchd gets the orphans here.
func inherits() bool { return false }

func reapOrphans(func(pid int) bool) {}

// kill does nothing.
//
// Weak: macOS shows no other process's environment, so what leaves a plugin's
// group outlives it there.
func (k kin) kill() []int { return nil }

func (k kin) restrict() {}

func (k kin) count() int { return 0 }

// Weak: macOS tells this only to those who link its libraries, and sets no limits of
// another process.

func Memory(pids ...int) []int64 { return make([]int64, len(pids)) }
func CPU(int) time.Duration      { return 0 }
func restrict(int) error         { return nil }
