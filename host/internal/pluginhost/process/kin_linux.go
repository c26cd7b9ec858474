package process

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// kill kills all of them and returns their numbers. A process that has ended and was
// not awaited yet is not found: it has no environment any more.
func (k kin) kill() []int {
	return k.each(func(p *os.Process) error { return p.Kill() })
}

// restrict sets the limits of all. Those that were started before their parent was
// restricted have not inherited them.
func (k kin) restrict() {
	k.each(func(p *os.Process) error { return restrict(p.Pid) })
}

// count is how many there are.
func (k kin) count() int {
	return len(k.each(func(*os.Process) error { return nil }))
}

// each calls do with each of them that there is, and returns the numbers of those
// where that worked.
func (k kin) each(do func(*os.Process) error) (pids []int) {
	if k.mark == "" {
		panic("kin without a mark: it would be everybody's")
	}
	entries, _ := os.ReadDir("/proc") // what can't be listed can't be found
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !k.has(pid) {
			continue
		}
		p, err := os.FindProcess(pid) // means this very process (pidfd_open(2)), even if another one gets its number
		if err != nil {
			continue
		}
		if k.has(pid) && do(p) == nil {
			pids = append(pids, pid)
		}
		p.Release()
	}
	return pids
}

// has reports whether a process is one of them. Those of other users can't be
// looked into, hence are none.
func (k kin) has(pid int) bool {
	// Spec: proc_pid_environ(5), proc_pid_fd(5).
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if bytes.HasPrefix(environ, []byte(k.mark)) || bytes.Contains(environ, []byte("\x00"+k.mark)) {
		return true
	}
	for fd := 1; fd <= 2 && len(k.pipes) > 0; fd++ {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err == nil && slices.Contains(k.pipes, to) {
			return true
		}
	}
	return false
}
