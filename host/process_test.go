package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"balhost/host/internal/admin"
)

// What the tests with real processes share: this binary as balhost, plugins
// that are built once, and processes that are started, watched and ended.

// TestMain makes this binary two programs: balhost, found in PATH under that
// name, and the tests.
func TestMain(m *testing.M) {
	// Tests with real processes wait more than they compute. A -parallel of the command
	// line comes later, and counts.
	if err := flag.Set("test.parallel", strconv.Itoa(max(together, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	testscript.Main(tests{m}, map[string]func(){"balhost": main})
}

// together is how many tests of this package run at a time, at least. All scripts together
// need a minute of CPU.
const together = 6

// tests are all tests, and what they leave behind.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer func() { os.RemoveAll(pluginsDir); os.RemoveAll(clockDir) }()
	return t.M.Run()
}

var pluginsDir string // "" until a test has built them

// builtPlugins is a folder with the plugins scribe, of testdata/scribe, echo,
// chatroom, reminder and tcpbridge, of examples.
func builtPlugins(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	if err := buildPlugins(); err != nil {
		t.Fatal(err)
	}
	return pluginsDir
}

var buildPlugins = sync.OnceValue(func() (err error) {
	if pluginsDir, err = os.MkdirTemp("", "balhost-plugins"); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", pluginsDir+"/", "./testdata/scribe", "../examples/echo", "../examples/chatroom", "../examples/reminder", "../examples/tcpbridge").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the plugins: %w\n%s", err, out)
	}
	return nil
})

// patience is how long something may take that has to come: machines are busy.
const patience = time.Minute

// eventually reports whether something became true before patience ended.
func eventually(ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// process is a balhost that runs, or ran.
type process struct {
	cmd    *exec.Cmd
	log    string        // the file of its output; it may hold that of an earlier one too
	begin  int64         // where its own output begins
	exited chan struct{} // closed when it was awaited
}

// startProcess starts balhost in dir, its output at the end of the file log.
func startProcess(dir, log string, env []string, args ...string) (*process, error) {
	return startProgram("balhost", dir, log, env, args...)
}

// startProgram is startProcess for another build of it.
func startProgram(program, dir, log string, env []string, args ...string) (*process, error) {
	out, err := os.OpenFile(filepath.Join(dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	info, err := out.Stat()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(program, args...), log: out.Name(), begin: info.Size(), exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, append(os.Environ(), env...), out, out
	if typed, err := os.Open(filepath.Join(dir, "typed")); err == nil { // else it has none
		defer typed.Close()
		p.cmd.Stdin = typed
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state has it
	}()
	return p, nil
}

// output is what it has printed so far.
func (p *process) output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[p.begin:])
}

// tail is the end of its output, for a test that fails.
func (p *process) tail() string {
	text := p.output()
	return "…" + text[max(0, len(text)-4000):]
}

// says waits until its output matches, and gives the submatches.
func (p *process) says(pattern string) ([]string, error) {
	want := regexp.MustCompile(pattern)
	var match []string
	if !eventually(func() bool {
		match = want.FindStringSubmatch(p.output())
		return match != nil || p.over()
	}) || match == nil {
		return nil, fmt.Errorf("%v does not say %q (it has ended: %v), but\n%s", p.cmd.Args, pattern, p.over(), p.tail())
	}
	return match, nil
}

func (p *process) over() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ends waits for its exit and gives the code; a signal's is negative.
func (p *process) ends() (code int, err error) {
	select {
	case <-p.exited:
	case <-time.After(patience):
		return 0, fmt.Errorf("%v has not ended within %s\n%s", p.cmd.Args, patience, p.tail())
	}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// stop ends it as a service manager does.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %v: %w\n%s", p.cmd.Args, err, p.tail())
	}
	code, err := p.ends()
	if err == nil && code != 0 {
		err = fmt.Errorf("%v ended with %d after SIGTERM\n%s", p.cmd.Args, code, p.tail())
	}
	return err
}

// kill is kill -9, and awaits the end. A process that has ended stays so.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error says that it has ended
	<-p.exited
}

// started is what a host says when it can be asked.
const started = `host is starting:.* admin=(\S+)`

// adminOf asks the host that listens there.
func adminOf(address string) (admin.Status, error) {
	client := admin.NewClient(address, "")
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return client.Status(ctx)
}

// gone reports whether a process has ended, whoever has to await it.
func gone(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return errors.Is(err, os.ErrNotExist) && haveProc()
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the state stands behind the name
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func haveProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// leftovers are what the plugins of a host could leave behind.
type leftovers struct {
	pids    []int
	sockets []string // their folders
}

func leftoversOf(status admin.Status) (r leftovers) {
	for _, plugin := range status.Plugins {
		if plugin.PID == 0 {
			continue
		}
		r.pids = append(r.pids, plugin.PID)
		if dir := socketDir(plugin.PID); dir != "" {
			r.sockets = append(r.sockets, dir)
		}
	}
	return r
}

// check says what is there when the host has ended.
func (r leftovers) check() error {
	for _, pid := range r.pids {
		if !gone(pid) {
			return fmt.Errorf("plugin process %d is still there when its host has ended", pid)
		}
	}
	for _, dir := range r.sockets {
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("the sockets' folder %s is still there when the host has ended", dir)
		}
	}
	return nil
}

// socketDir is the private folder of a plugin's socket, as go-plugin tells the
// plugin; "" where there is no /proc.
func socketDir(pid int) string {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	for _, kv := range strings.Split(string(environ), "\x00") {
		if dir, ok := strings.CutPrefix(kv, "PLUGIN_UNIX_SOCKET_DIR="); ok {
			return dir
		}
	}
	return ""
}
