package powercut

// paths are the calls with a path that change what a power cut leaves. Each is renamed
// in the generated files of package syscall, and added has a new function under its old
// name. Calls with a descriptor also come from golang.org/x/sys. All of them go through
// Syscall or Syscall6, where the layer sees them.
//
// The layer does not see truncate by path, openat2, renameat2, link, sync_file_range,
// syncfs and os.Root. Disk.Cut fails if it finds a name that the layer has not seen.
var paths = []string{"openat", "Renameat", "unlinkat", "Mkdirat"}

// descriptors are texts in syscall_linux.go, each with the text that is added after it.
var descriptors = [][2]string{
	{
		"func Syscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n",
		`	if Powercut != nil && powercutHandles(trap) {
		return powercutCall(trap, a1, a2, a3, 0, 0, 0)
	}
`,
	},
	{
		"	r1, r2, err = RawSyscall6(trap, a1, a2, a3, 0, 0, 0)\n	runtime_exitsyscall()\n",
		"	if Powercut != nil && trap == SYS_WRITE {\n		powercutWritten(int(a1))\n	}\n",
	},
	{
		"func Syscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {\n",
		`	if Powercut != nil && powercutHandles(trap) {
		return powercutCall(trap, a1, a2, a3, a4, a5, a6)
	}
`,
	},
	{
		"	r1, r2, err = RawSyscall6(trap, a1, a2, a3, a4, a5, a6)\n	runtime_exitsyscall()\n",
		"	if Powercut != nil && trap == SYS_PWRITE64 {\n		powercutWritten(int(a1))\n	}\n",
	},
}

// added is a file that is added to package syscall. Powercut is nil until an init sets
// it. Powercut itself calls do, which makes the real call: so it can hold a lock during
// the call, or leave it out. The arguments of the calls with a descriptor are not
// addresses in Go's memory, so the stack may grow before the call.
const added = `package syscall

type PowercutCall struct {
	Name          string
	FD            int
	Path, To      string // only absolute paths are seen
	Flags         int
	Size          int64
	Address, Span uintptr
}

var Powercut func(c *PowercutCall, do func() error) error

func openat(dirfd int, path string, flags int, mode uint32) (fd int, err error) {
	if Powercut == nil || flags&(O_CREAT|O_TRUNC) == 0 {
		return powercutopenat(dirfd, path, flags, mode)
	}
	err = Powercut(&PowercutCall{Name: "open", Path: path, Flags: flags}, func() (err error) {
		fd, err = powercutopenat(dirfd, path, flags, mode)
		return err
	})
	return fd, err
}

func Renameat(olddirfd int, oldpath string, newdirfd int, newpath string) (err error) {
	if Powercut == nil {
		return powercutRenameat(olddirfd, oldpath, newdirfd, newpath)
	}
	return Powercut(&PowercutCall{Name: "rename", Path: oldpath, To: newpath}, func() error {
		return powercutRenameat(olddirfd, oldpath, newdirfd, newpath)
	})
}

func unlinkat(dirfd int, path string, flags int) (err error) {
	if Powercut == nil {
		return powercutunlinkat(dirfd, path, flags)
	}
	return Powercut(&PowercutCall{Name: "unlink", Path: path}, func() error { return powercutunlinkat(dirfd, path, flags) })
}

func Mkdirat(dirfd int, path string, mode uint32) (err error) {
	if Powercut == nil {
		return powercutMkdirat(dirfd, path, mode)
	}
	return Powercut(&PowercutCall{Name: "mkdir", Path: path}, func() error { return powercutMkdirat(dirfd, path, mode) })
}

//go:nosplit
func powercutHandles(trap uintptr) bool {
	return trap == SYS_FSYNC || trap == SYS_FDATASYNC || trap == SYS_MSYNC || trap == SYS_FTRUNCATE || trap == SYS_FALLOCATE
}

func powercutCall(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {
	c := PowercutCall{Name: "sync", FD: int(a1)}
	switch trap {
	case SYS_MSYNC:
		c = PowercutCall{Name: "msync", Address: a1, Span: a2}
	case SYS_FTRUNCATE:
		c.Name, c.Size = "truncate", int64(a2)
	case SYS_FALLOCATE:
		if a2 != 0 { // keeps the size
			return powercutReal(trap, a1, a2, a3, a4, a5, a6)
		}
		c.Name, c.Size = "allocate", int64(a3+a4)
	}
	failed := Powercut(&c, func() error {
		if r1, r2, err = powercutReal(trap, a1, a2, a3, a4, a5, a6); err != 0 {
			return err
		}
		return nil
	})
	if e, ok := failed.(Errno); ok {
		err = e
	}
	return r1, r2, err
}

//go:nosplit
func powercutReal(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {
	runtime_entersyscall()
	r1, r2, err = RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
	runtime_exitsyscall()
	return
}

// powercutWritten counts a write to a file with O_DSYNC as a sync.
func powercutWritten(fd int) {
	if flags, err := fcntl(fd, F_GETFL, 0); err == nil && flags&O_DSYNC != 0 {
		Powercut(&PowercutCall{Name: "sync", FD: fd}, func() error { return nil })
	}
}
`

// addedBelow is a file that is added to package internal/syscall/unix, for os.RemoveAll.
const addedBelow = `package unix

import (
	"strconv"
	"syscall"
)

func Unlinkat(dirfd int, path string, flags int) error {
	if syscall.Powercut == nil {
		return powercutUnlinkat(dirfd, path, flags)
	}
	c := syscall.PowercutCall{Name: "unlink", Path: path}
	folder := make([]byte, 4096)
	if n, err := syscall.Readlink("/proc/self/fd/"+strconv.Itoa(dirfd), folder); err == nil {
		c.Path = string(folder[:n]) + "/" + path
	}
	return syscall.Powercut(&c, func() error { return powercutUnlinkat(dirfd, path, flags) })
}
`
