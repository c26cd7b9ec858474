// Package mend says what a person does about what the operating system refuses:
// which command gives the host back a file that root has made, which limit is to
// be raised. It decides by what it sees, never by an error's text. Start at [With].
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

// With adds what to do to an error, if that is known.
func With(err error) error {
	if err == nil {
		return nil
	}
	if hint := Hint(err); hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}

// Hint is what to do about an error; "": nothing is known.
func Hint(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, syscall.EMFILE):
		return files()
	case errors.Is(err, syscall.ENFILE):
		return "the whole system has as many files open as it may: raise fs.file-max"
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &path):
		return permission(path.Path)
	}
	return Short()
}

// Short says that no more files can be opened; "": they can. Libraries tell of it
// by an error's text alone, or by trouble that comes of it.
func Short() string {
	f, err := os.Open(os.DevNull)
	switch {
	case errors.Is(err, syscall.EMFILE):
		return files()
	case err == nil:
		f.Close() // it was only read
	}
	return ""
}

func files() string {
	return fmt.Sprintf("this process has the %d files open that it may: raise LimitNOFILE in its unit, or ulimit -n", Files())
}

// Files is how many files this process may have open. Go has raised that to what
// the system allows it already.
func Files() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return uint64(l.Cur)
}

// permission looks for what on the way to a path is not this user's.
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
			break // what is above it has to be looked at
		}
		if hint := foreign(way[i], info, way[i] == path); hint != "" {
			return hint
		}
	}
	if len(way) > 1 { // it can't be made there
		if info, err := os.Stat(way[1]); err == nil {
			return foreign(way[1], info, true)
		}
	}
	return ""
}

// foreign says how a file comes to be usable: a folder on the way must be
// searched, the last one, and a file, written to as well.
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
		return fmt.Sprintf("%s is closed to its own user (mode %04o): chmod u+rwx %s", path, info.Mode().Perm(), path)
	}
	return fmt.Sprintf("%s is closed to its own user (mode %04o): chmod u+rw %s", path, info.Mode().Perm(), path)
}

// Access says which of the host's own files in a data folder it can't use, as they
// are after it was started once as another user; nil: none. own are its folders.
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
			if mine := ok && int(st.Uid) == os.Geteuid(); mine && !info.IsDir() { // a copy may be closed to writing
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
			if err == nil && entry.Type()&^fs.ModeDir != 0 { // a socket, a link
				return nil
			}
			var info fs.FileInfo
			if err == nil {
				info, err = entry.Info()
			}
			look(path, info, err)
			if entry != nil && entry.IsDir() && entry.Name() == "work" {
				return fs.SkipDir // a plugin's own
			}
			return nil
		})
	}
	if first == "" {
		return nil
	}
	if more > 1 {
		first += fmt.Sprintf(" (the first of %d such; chown -R %d:%d %s covers all)", more, os.Geteuid(), os.Getegid(), dataDir)
	}
	return errors.New("data_dir can't be used: " + first)
}
