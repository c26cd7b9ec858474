package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// logFile is the process's stderr for the log, which may wait for its reader. The Go
// runtime writes a panic's trace directly to file descriptor 2. If that waits for a
// reader too, a host that panics neither ends nor serves. So this makes descriptor 2
// non-blocking. It opens the file again, because other processes may share the old
// one's flags. A socket can't be opened again, but systemd's belongs to this service
// alone.
func logFile() *os.File {
	own, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return os.Stderr
	}
	switch fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", own), unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err {
	case nil:
		_ = unix.Dup3(fd, 2, 0) // on an error nothing changes
		unix.Close(fd)
	case syscall.ENXIO: // a socket
		_ = unix.SetNonblock(2, true)
	}
	return os.NewFile(uintptr(own), "/dev/stderr")
}
