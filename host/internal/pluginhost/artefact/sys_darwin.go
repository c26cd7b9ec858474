package artefact

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// changed is when the file's inode changed last: rename, chmod and every write.
func changed(info fs.FileInfo) int64 {
	return info.Sys().(*syscall.Stat_t).Ctimespec.Nano()
}

// noexec reports whether a folder's file system runs no programs.
func noexec(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Flags&unix.MNT_NOEXEC != 0
}
