package process

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Memory is what each of these processes has resident, in bytes, with all that it has
// started: its children, theirs, and its group. 0: it is gone. Pages that they share
// count for each.
func Memory(pids ...int) []int64 {
	return sum(pids, func(p kinsman) int64 { return p.resident })
}

// CPU is the time that a process has used with all that it has started, to 10 ms.
func CPU(pid int) time.Duration {
	return time.Duration(sum([]int{pid}, func(p kinsman) int64 { return p.ticks })[0]) * time.Second / ticksPerSecond
}

// ticksPerSecond is the unit of times in /proc on all of Linux's platforms that Go has.
const ticksPerSecond = 100

// sum is what of says of each of these processes and of all that it has started.
func sum(pids []int, what func(kinsman) int64) []int64 {
	sums := make([]int64, len(pids))
	of := map[int]int{} // what counts for which of pids
	for i, pid := range pids {
		of[pid] = i
	}
	all := processes()
	for pid, p := range all {
		for up, hops := pid, 0; up > 1 && hops < maxHops; up, hops = all[up].parent, hops+1 {
			if i, ok := of[up]; ok {
				sums[i] += what(p)
				break
			} else if i, ok := of[all[up].group]; ok {
				sums[i] += what(p)
				break
			}
		}
	}
	return sums
}

// maxHops bounds the way up from a process. The system's view changes while it is read,
// so the way could go round.
const maxHops = 64

// kinsman is what the system says of one process.
type kinsman struct {
	parent, group int
	resident      int64 // bytes
	ticks         int64 // of CPU
}

// processes are all that there are, by number.
func processes() map[int]kinsman {
	entries, _ := os.ReadDir("/proc") // what can't be listed counts nothing
	all := make(map[int]kinsman, len(entries))
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// Spec: proc_pid_stat(5): behind the name, which may have blanks and brackets in
		// it, follow the state, the parent, the group; the 14th and 15th field are the
		// ticks of CPU, the 24th is the resident set in pages.
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if err != nil || len(fields) < 22 {
			continue
		}
		number := func(i int) int { n, _ := strconv.Atoi(string(fields[i])); return n } // the system writes numbers
		all[pid] = kinsman{parent: number(1), group: number(2), resident: int64(number(21)) * int64(os.Getpagesize()), ticks: int64(number(11)) + int64(number(12))}
	}
	return all
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
