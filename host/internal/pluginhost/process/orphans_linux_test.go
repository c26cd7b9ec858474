package process

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// What is ours stays for os/exec, whatever has ended before or after it.
func TestReapOrphans(t *testing.T) {
	var all []*exec.Cmd
	ours := map[int]bool{}
	for i := range 4 {
		cmd := exec.Command("true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
		ours[cmd.Process.Pid] = i == 2
	}
	reapOrphans(func(pid int) bool { return ours[pid] })
	if err := all[2].Wait(); err != nil {
		t.Errorf("ours: %v", err)
	}
	reapOrphans(func(int) bool { return false })
	for i, cmd := range all {
		if err := cmd.Wait(); i != 2 && err == nil {
			t.Errorf("orphan %d was not awaited", i)
		}
	}
}
