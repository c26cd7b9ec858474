// Package mend says what a person can do when the operating system refuses something:
// for example which command gives the host a file that root has made, or which limit
// to raise. It looks at the files and limits, never at an error's text. Start at [With].
package mend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// With adds a hint to an error, if there is one.
func With(err error) error {
	if err == nil {
		return nil
	}
	if hint := Hint(err); hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}

// Hint says what to do about an error; "" if it knows nothing.
func Hint(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, syscall.EMFILE):
		return files()
	case errors.Is(err, syscall.ENFILE):
		return "the whole system has reached its limit of open files: raise fs.file-max"
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &path):
		return permission(path.Path)
	}
	return Short()
}

// Short says that this process can't open more files; "" if it can. It tries, because
// libraries report this only as text, or as some other error that follows from it.
func Short() string {
	f, err := os.Open(os.DevNull)
	switch {
	case errors.Is(err, syscall.EMFILE):
		return files()
	case err == nil:
		f.Close() // nothing was written
	}
	return ""
}

func files() string {
	return fmt.Sprintf("this process has reached its limit of %d open files: raise LimitNOFILE in its unit, or ulimit -n", Files())
}

// Files is how many files this process may have open. Go has already raised this
// limit as far as the system allows.
func Files() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return uint64(l.Cur)
}

// permission says which file or folder on the way to path this user can't use, and
// what to do; "" if there is none.
func permission(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	var way []string
	for p := path; ; p = filepath.Dir(p) {
		way = append(way, p)
		if p == filepath.Dir(p) {
			break
		}
	}
	for i := len(way) - 1; i >= 0; i-- {
		info, err := os.Stat(way[i])
		if err != nil {
			break // it does not exist, or can't be seen: look at its folder
		}
		if hint := foreign(way[i], info, way[i] == path); hint != "" {
			return hint
		}
	}
	if len(way) > 1 { // perhaps the folder does not allow new files
		if info, err := os.Stat(way[1]); err == nil {
			return foreign(way[1], info, true)
		}
	}
	return ""
}

// foreign says which command makes a file usable for this user; "" if it is. whole:
// the file must be read and written, and a folder also searched. Otherwise it is a
// folder on the way, which must only be searched.
func foreign(path string, info fs.FileInfo, whole bool) string {
	need := uint32(unix.R_OK | unix.W_OK)
	if info.IsDir() {
		if need |= unix.X_OK; !whole {
			need = unix.X_OK
		}
	}
	if unix.Access(path, need) == nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch uid := os.Geteuid(); {
	case !ok:
		return ""
	case int(st.Uid) != uid:
		return fmt.Sprintf("%s belongs to user %d, and the host runs as user %d: chown -R %d:%d %s", path, st.Uid, uid, uid, os.Getegid(), path)
	case info.IsDir():
		return fmt.Sprintf("%s can't be used by its own user (mode %04o): chmod u+rwx %s", path, info.Mode().Perm(), path)
	}
	return fmt.Sprintf("%s can't be used by its own user (mode %04o): chmod u+rw %s", path, info.Mode().Perm(), path)
}

// Access says which file in the data folder the host can't use, and what to do. nil:
// it can use all. Such files appear when the host was once started as another user. own
// are the host's folders in the data folder.
func Access(dataDir string, own ...string) error {
	first, more := "", 0
	look := func(path string, info fs.FileInfo, err error) {
		hint := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return
		case err != nil:
			hint = err.Error()
		default:
			st, ok := info.Sys().(*syscall.Stat_t)
			if mine := ok && int(st.Uid) == os.Geteuid(); mine && !info.IsDir() { // a copy of a plugin may be read-only
				return
			}
			hint = foreign(path, info, true)
		}
		if hint == "" {
			return
		}
		if more++; first == "" {
			first = hint
		}
	}
	info, err := os.Stat(dataDir)
	look(dataDir, info, err)
	for _, name := range own {
		_ = filepath.WalkDir(filepath.Join(dataDir, name), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type()&^fs.ModeDir != 0 { // a socket or a link
				return nil
			}
			var info fs.FileInfo
			if err == nil {
				info, err = entry.Info()
			}
			look(path, info, err)
			if entry != nil && entry.IsDir() && entry.Name() == "work" {
				return fs.SkipDir // these files belong to the plugins
			}
			return nil
		})
	}
	if first == "" {
		return nil
	}
	if more > 1 {
		first += fmt.Sprintf(" (the first of %d such files; chown -R %d:%d %s mends all)", more, os.Geteuid(), os.Getegid(), dataDir)
	}
	return errors.New("data_dir can't be used: " + first)
}
