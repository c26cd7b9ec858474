package ledger

import (
	"os"

	"golang.org/x/sys/unix"
)

// fill gives a file real blocks.
func fill(f *os.File, size int64) error {
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err == nil {
		return nil
	}
	return fillZeros(f, size)
}
