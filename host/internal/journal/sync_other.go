//go:build !linux

package journal

import "os"

// datasync makes a file's bytes durable. On macOS that is F_FULLFSYNC, which
// os.File.Sync asks for: a bare fsync there leaves them in the drive's cache.
func datasync(f *os.File) error { return f.Sync() }
