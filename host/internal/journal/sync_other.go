//go:build !linux

package journal

import "os"

// datasync makes a file's bytes durable. On macOS os.File.Sync uses F_FULLFSYNC for
// that: a plain fsync leaves the bytes in the drive's cache.
func datasync(f *os.File) error { return f.Sync() }
