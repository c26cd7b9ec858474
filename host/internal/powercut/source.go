package powercut

// paths are the calls by name that change what a power cut leaves. Each is
// renamed in the generated files of package syscall and written anew by added.
// Those by descriptor, which golang.org/x/sys makes by itself, are caught in
// Syscall and Syscall6, by which all go.
//
// Not seen: truncate by path, openat2, renameat2, link, sync_file_range, syncfs,
// os.Root. A Disk finds a name that it was not told of.
var paths = []string{"openat", "Renameat", "unlinkat", "Mkdirat"}

// descriptors are the places in syscall_linux.go, and what they become.
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

// added is the file that package syscall gets. Powercut is nil until an init
// has set it. It gets do to make the call, as it may hold a lock meanwhile, or
// need not make it at all. The arguments of the calls by descriptor are no
// addresses of Go's, so that the stack may grow on their way.
const added = `package syscall

type PowercutCall struct {
	Name          string
	FD            int
	Path, To      string // absolute ones are seen
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

// powercutWritten makes of a write to a file with O_DSYNC what it is, a sync.
func powercutWritten(fd int) {
	if flags, err := fcntl(fd, F_GETFL, 0); err == nil && flags&O_DSYNC != 0 {
		Powercut(&PowercutCall{Name: "sync", FD: fd}, func() error { return nil })
	}
}
`

// addedBelow is the file that package internal/syscall/unix gets, for os.RemoveAll.
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
