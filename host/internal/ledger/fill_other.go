//go:build !linux

package ledger

import "os"

// fill gives a file real blocks.
func fill(f *os.File, size int64) error { return fillZeros(f, size) }
