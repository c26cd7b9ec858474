package artefact

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Unstarted says why the system did not start a process of a staged copy, with
// the mend. A Fault is the content's.
func Unstarted(path string, err error) error {
	why := func(format string, args ...any) error {
		return fmt.Errorf("can't be started: "+format, args...)
	}
	if reason := Flaw(path); reason != "" {
		return Fault("not a plugin: it " + reason)
	}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return Fault(fmt.Sprintf("not a plugin: it can't be run by this machine (%v): %s", err, buildFor()))
	case errors.Is(err, fs.ErrNotExist):
		if _, gone := os.Lstat(path); gone != nil {
			return why("its copy %s was removed: it is made again", path)
		}
		return why("it %s", cmp.Or(Lack(path), err.Error()))
	case errors.Is(err, syscall.EACCES):
		if noexec(filepath.Dir(path)) {
			return why("%s", noexecReason(filepath.Dir(path)))
		}
		return why("it %s", cmp.Or(Lack(path), "may not be run by the host's user: "+err.Error()+"; a security policy (SELinux, AppArmor) can forbid it"))
	case errors.Is(err, syscall.EPERM):
		return why("%v: a security policy (SELinux, AppArmor, seccomp) forbids it", err)
	case errors.Is(err, syscall.ETXTBSY):
		return why("another program has its copy open for writing (%v): it is tried again", err)
	case errors.Is(err, syscall.EAGAIN):
		return why("no more processes are allowed (%v): raise TasksMax in the host's unit, or ulimit -u", err)
	case errors.Is(err, syscall.ENOMEM):
		return why("memory is short: %v", err)
	case errors.Is(err, syscall.ELOOP):
		return why("its interpreter is a script of a script, and so on: name a program behind #!")
	}
	return why("%w", err)
}

// noexecReason is for a folder whose file system runs no programs.
func noexecReason(dir string) string {
	return fmt.Sprintf("plugins are run from copies in %s, whose file system is mounted noexec: mount -o remount,exec it, or put data_dir elsewhere", dir)
}

// Unfit says why the copies in a data folder could not be run; "": they could, as
// far as can be seen. The folder need not be there yet.
func Unfit(dataDir string) string {
	if there := Nearest(dataDir); noexec(there) {
		return noexecReason(there)
	}
	return ""
}

// Nearest is path, or the folder nearest above it that there is.
func Nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
