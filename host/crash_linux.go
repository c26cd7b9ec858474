package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// logFile is the process's stderr for the log, which may wait for its reader. The
// runtime's own words, a panic's trace above all, go past the log straight to file
// descriptor 2, and wait as well: a host that panics would neither end nor serve
// while nobody reads. So from here on that descriptor waits for nobody. It is opened
// anew, since how a file was opened is shared with whoever else has it; only a
// socket, systemd's, can't be: that one is the service's own.
func logFile() *os.File {
	own, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return os.Stderr
	}
	switch fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", own), unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err {
	case nil:
		_ = unix.Dup3(fd, 2, 0) // else all stays as it was
		unix.Close(fd)
	case syscall.ENXIO: // a socket
		_ = unix.SetNonblock(2, true)
	}
	return os.NewFile(uintptr(own), "/dev/stderr")
}
