package pluginhost

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr gives the process a group of its own and makes it die with the
// thread that starts it, hence with the host, even one that is killed.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the end of the process, runs last while its number can't be
// given to another process yet, and reaps it.
func reap(cmd *exec.Cmd, last func()) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	last()
	_ = cmd.Wait() // its error is in ProcessState
}

// changed is when the file's inode changed last: rename, chmod and every write.
func changed(info fs.FileInfo) int64 {
	return info.Sys().(*syscall.Stat_t).Ctim.Nano()
}

// noexec reports whether a folder's file system runs no programs.
func noexec(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Flags&unix.ST_NOEXEC != 0
}
