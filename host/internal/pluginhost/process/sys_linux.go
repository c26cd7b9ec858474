package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysProcAttr gives the process a group of its own. It dies with the thread that
// started it, and so with the host, even when the host is killed.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the end of the process, calls last, and reaps the process. Until then
// no other process can get its number.
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

// inherits reports whether orphans become this process's children.
func inherits() bool {
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	return os.Getpid() == 1 || err == nil && subreaper != 0
}

// reapOrphans awaits the children that have ended. It stops at one that is ours, which
// os/exec awaits.
func reapOrphans(ours func(pid int) bool) {
	for {
		// Spec: waitid(2): the first that has ended stays as it is; si_pid is 0 for none.
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
			return // no children
		}
		pid := (*struct {
			_   [3]int32
			_   [unsafe.Sizeof(uintptr(0)) - 4]byte
			pid int32
		})(unsafe.Pointer(&info)).pid
		if pid == 0 || ours(int(pid)) {
			return
		}
		if _, err := unix.Wait4(int(pid), nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}
