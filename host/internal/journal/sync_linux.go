package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes a file's bytes and length durable, but not its times. A write into a
// segment changes nothing else, because all its blocks exist.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
