package pluginhost

import (
	"io/fs"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
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

// changed is when the file's inode changed last: rename, chmod and every write.
func changed(info fs.FileInfo) int64 {
	return info.Sys().(*syscall.Stat_t).Ctimespec.Nano()
}

// noexec reports whether a folder's file system runs no programs.
func noexec(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Flags&unix.MNT_NOEXEC != 0
}

// inherits: launchd gets the orphans here.
func inherits() bool { return false }

func reapOrphans(func(pid int) bool) {}
