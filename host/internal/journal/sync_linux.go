package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes a file's bytes durable. The length is among them, the times are
// not: a write into a segment, whose blocks are all there, changes nothing else.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
