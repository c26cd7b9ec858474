package artefact

import (
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// changed is when the file's inode changed last: rename, chmod and every write.
func changed(info fs.FileInfo) int64 {
	return info.Sys().(*syscall.Stat_t).Ctimespec.Nano()
}

// maxWatched is none: macOS opens every file of a folder that is watched. What changes in
// a plugin's folder is seen at the next look.
const maxWatched = 0

// syncTree has a folder with all that is in it on disk when it returns.
func syncTree(path string) error {
	return errors.Join(syncFile(path), walk(path, func(n node) error {
		if n.info.Mode().Type() == fs.ModeSymlink {
			return nil
		}
		return syncFile(n.full)
	}))
}

// noexec reports whether a folder's file system runs no programs.
func noexec(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Flags&unix.MNT_NOEXEC != 0
}
