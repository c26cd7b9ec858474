package pluginhost

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A host that gets the orphans, as the first process of a container does, leaves
// no zombies of what its plugins have started, and takes no exit from those who
// wait for one: plugins still end with their reasons.
func TestOrphansAreAwaited(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Skipf("can't be a subreaper here: %v", err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	b := newBench(t)
	b.put("echo", "")
	b.run()
	gone := func(pid string) bool {
		_, err := os.Stat("/proc/" + pid)
		return os.IsNotExist(err)
	}
	for i := range 5 {
		b.event("ready echo", i+1)
		pid := b.ask("echo", "orphan") // it is killed with its parent, and nobody's then
		if _, err := strconv.Atoi(pid); err != nil {
			t.Fatal(pid)
		}
		b.tell("echo", "kill")
		b.event("gone echo", i+1)
		b.poll("the orphan to be awaited", func() bool { return gone(pid) })
		b.poll("the reason", func() bool {
			s := b.status("echo")
			return s.State != Backoff || s.Reason == "killed by signal: killed"
		})
	}
	// One whose parent never got to be a plugin.
	b.event("ready echo", 6)
	b.script("daemon", fmt.Sprintf("setsid sleep 600 >/dev/null 2>&1 &\necho $! >%s/pid\nexit 7", b.data))
	b.poll("its end", func() bool { return strings.Contains(b.status("daemon").Reason, "status 7") })
	text, err := os.ReadFile(b.data + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid := string(text[:len(text)-1]) // of one of its tries
	b.poll("the daemon to be awaited", func() bool { return gone(pid) })
}
