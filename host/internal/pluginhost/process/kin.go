package process

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// kin are the processes that one plugin process has started, or that all of a host's
// have. A process is found even when it has a group or a session of its own, or
// another parent. It is known by markVariable, which it has inherited. If it was given
// another environment, it is known by the pipe that it prints to.
type kin struct {
	mark  string   // how their markVariable=… begins
	pipes []string // "pipe:[…]", as the system names what they print to
}

// markVariable tells the processes of a host, and of one plugin's process, from all others.
const markVariable = "BALHOST_INSTANCE"

// kinTime bounds how long they are looked for.
const kinTime = 2 * time.Second

// allOf are all processes of a data folder's hosts: this one and those before it. The
// folder's inode is a part of the mark, since hosts in other containers can have a
// folder of the same path.
func allOf(dataDir string) (kin, error) {
	info, err := os.Stat(dataDir)
	if err != nil {
		return kin{}, fmt.Errorf("look at data folder: %w", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return kin{mark: fmt.Sprintf("%s=%x-%x.", markVariable, st.Dev, st.Ino)}, nil
}

// one is the n-th process of these.
func (k kin) one(n int64) kin { return kin{mark: fmt.Sprintf("%s%d\x00", k.mark, n)} }

// variable is what a process of k gets into its environment.
func (k kin) variable() string { return k.mark[:len(k.mark)-1] }

// end kills them until none is left, or until limit is over. It looks more than once,
// since they may start others meanwhile. It returns how many were killed and whether
// some are left.
func (k kin) end(limit time.Duration) (killed int, left bool) {
	seen := map[int]bool{}
	for late := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		found := k.kill()
		for _, pid := range found {
			seen[pid] = true
		}
		if left = len(found) > 0; !left || time.Now().After(late) {
			return len(seen), left
		}
	}
}
