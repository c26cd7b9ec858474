package pluginhost

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"balhost/host/internal/pluginhost/process"
)

// Row 6 of the table: a killed host takes its plugins along, and the next start
// sweeps what it left.
func TestKilledHostLeavesNoPlugin(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	plugin := b.killedHost()
	b.poll("the plugin to die with its host", func() bool { return dead(plugin) })
	root := process.SocketRoot(b.data)
	left, err := os.ReadDir(root)
	if err != nil || len(left) == 0 {
		t.Fatalf("the killed host should have left a folder for a socket in %s: %v", root, err)
	}
	b.run()
	b.event("ready echo", 1)
	if _, err := os.Stat(filepath.Join(root, left[0].Name())); !os.IsNotExist(err) {
		t.Errorf("the next start should have swept %s: %v", left[0].Name(), err)
	}
}

// P5: what a killed host's plugins have started, such as the real plugin behind a
// script, is gone before the next host starts anything.
func TestKilledHostsGrandchildren(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	b.put("echo", "")
	if err := os.Mkdir(filepath.Join(dir, "echo"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, number := filepath.Join(dir, "echo", "program"), filepath.Join(dir, "number")
	if err := os.Rename(filepath.Join(b.dir, "echo"), program); err != nil {
		t.Fatal(err)
	}
	b.script("echo", fmt.Sprintf("%s &\necho $! >%s\nwait", program, number))
	b.killedHost()
	text, err := os.ReadFile(number)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || dead(child) {
		t.Fatalf("process %d should have outlived the host: %v", child, err)
	}
	stranger := exec.Command("sleep", "600") // of a host on another data folder
	stranger.Env = []string{mark(t, dir, 1)}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Wait()
	defer stranger.Process.Kill()
	b.run()
	b.event("described echo", 1)
	if !dead(child) {
		t.Error("the plugin of the killed host lives beside the new one")
	}
	if !strings.Contains(b.log.String(), "1 processes of plugins were left by the last host: killed") {
		t.Error("nothing was said of it")
	}
	if dead(stranger.Process.Pid) {
		t.Error("another host's process was killed")
	}
}

// killedHost runs a host on the bench's folder until a plugin is ready, kills it,
// and lets the bench's own have its data folder. It returns the plugin's number.
func (b *bench) killedHost() (pid int) {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := os.Symlink(b.dir, filepath.Join(dir, "plugins")); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PLUGINHOST_TEST_HOST="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "ready "))); err != nil {
		b.t.Fatal(err)
	}
	b.data = filepath.Join(dir, "data")
	b.host.o.DataDir = b.data
	return pid
}

// mark is what the n-th process of a host on a data folder has in its environment.
func mark(t *testing.T, dataDir string, n int) string {
	t.Helper()
	info, err := os.Stat(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("BALHOST_INSTANCE=%x-%x.%d", st.Dev, st.Ino, n)
}
