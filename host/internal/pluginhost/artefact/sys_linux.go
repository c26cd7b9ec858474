package artefact

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// changed is when the file's inode changed last: rename, chmod and every write.
func changed(info fs.FileInfo) int64 {
	return info.Sys().(*syscall.Stat_t).Ctim.Nano()
}

// maxWatched bounds how many folders inside of plugins' folders are watched. What changes
// in others is seen at the next look.
const maxWatched = 4096

// syncTree has a folder with all that is in it on disk when it returns. One flush of the
// file system costs the ledger less than thousands of single ones.
func syncTree(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// noexec reports whether a folder's file system runs no programs.
func noexec(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Flags&unix.ST_NOEXEC != 0
}
