package process

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Memory is what a process has resident, in bytes; 0 when it is gone.
func Memory(pid int) int64 {
	// Spec: proc_pid_statm(5): the second field is the resident set in pages.
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64) // what can't be read counts nothing
	return pages * int64(os.Getpagesize())
}

// groupMemory is what all processes of a group have resident, in bytes. The process
// that led the group counts, even if it has left it. Shared pages count for each.
func groupMemory(group int) (sum int64) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return Memory(group)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if pgid, err := unix.Getpgid(pid); err == nil && (pgid == group || pid == group) {
			sum += Memory(pid)
		}
	}
	return sum
}

// maxFiles bounds the files that a plugin may have open, so that a leak stays
// its own.
const maxFiles = 65536

// restrict sets the limits of a process that has just been started. It makes no core
// dumps, which would hold what devices sent. Its open files are bounded. When memory
// is short, the kernel ends it before the host. What it starts inherits all this.
func restrict(pid int) error { return errors.Join(sacrifice(pid), bound(pid)) }

func bound(pid int) error {
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil); err != nil {
		return err
	}
	var files unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &files); err != nil {
		return err
	}
	files.Max = min(files.Max, maxFiles)
	files.Cur = files.Max
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &files, nil)
}

// sacrifice has the kernel end a process before the host when memory is short, even
// if the host is larger. A plugin's death costs one restart, the host's death stops all
// plugins. The host's own score stays: to lower it needs a privilege.
func sacrifice(pid int) error {
	// Spec: proc_pid_oom_score_adj(5): added to thousandths of the memory in use, 1000 at most.
	const span, most = 1000, 1000
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return err
	}
	own, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return err
	}
	return os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(strconv.Itoa(min(own+span, most))), 0)
}
