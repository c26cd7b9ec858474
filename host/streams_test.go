package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
)

// stalling starts a host whose stderr is a pipe, with a plugin that floods its
// log, and gives the pipe's other end and the host's admin address.
func stalling(t *testing.T, sim *ccssim.Server) (host *process, reader *os.File, address string) {
	t.Helper()
	plugins, dir := builtPlugins(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	scribe, err := os.ReadFile(filepath.Join(plugins, "scribe"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "plugins", "scribe"), string(scribe), 0o700)
	config := strings.Replace(usualConfig, `"data/sim-ca.pem"`, strconv.Quote(sim.CAFile()), 1) + `
log {
  level = "trace"
}
plugin "scribe" {
  config = { flood = true }
}
`
	write(t, filepath.Join(dir, "config.hcl"), config, 0o600)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	t.Cleanup(func() { reader.Close() })
	host = &process{cmd: exec.Command("balhost", "run"), exited: make(chan struct{}), log: os.DevNull}
	host.cmd.Dir, host.cmd.Env, host.cmd.Stderr = dir, append(os.Environ(), "CCS="+sim.Addr()), writer
	if err := host.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(host.exited)
		_ = host.cmd.Wait()
	}()
	t.Cleanup(host.kill)
	lines := bufio.NewReaderSize(reader, 16)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(started).FindStringSubmatch(line); m != nil {
			return host, reader, m[1]
		}
	}
}

// answers are what the devices got back.
func answers(sim *ccssim.Server) uint64 { return sim.Counts().AckedDown }

// P10: nobody reads the log any more. Messages go on, probes are answered, status
// tells of it; a reader that comes back hears how many lines are missing; and
// SIGTERM ends the host, whether somebody reads or not.
func TestLogReaderStalls(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprintf("back=%v", back), func(t *testing.T) {
			sim, err := ccssim.NewServer(ccssim.Options{Listen: "127.0.0.1:0", CAFile: filepath.Join(t.TempDir(), "ca.pem")})
			if err != nil {
				t.Fatal(err)
			}
			defer sim.Close()
			host, reader, address := stalling(t, sim)
			if err := sim.StartDevices(ccssim.Devices{Count: 5, Rate: 200, Category: "com.example.echo"}); err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool {
				status, err := adminOf(address)
				return err == nil && status.Log != nil && status.Log.Dropped > 0
			}) {
				t.Fatal("the log was never too long for its pipe")
			}
			before := answers(sim)
			if !eventually(func() bool { return answers(sim) > before+200 }) {
				t.Error("no messages go on beside a log that nobody reads")
			}
			if !eventually(func() bool {
				status, err := adminOf(address)
				return err == nil && status.Ready && strings.Contains(strings.Join(status.Warnings, "\n"), "nobody has read the log")
			}) {
				t.Error("status doesn't say that nobody reads the log")
			}
			text := make(chan string, 1)
			if back {
				go func() {
					all, _ := io.ReadAll(reader)
					text <- string(all)
				}()
				if !eventually(func() bool {
					status, err := adminOf(address)
					return err == nil && !strings.Contains(strings.Join(status.Warnings, "\n"), "nobody reads")
				}) {
					t.Error("status still says that nobody reads the log")
				}
			}
			if err := host.stop(); err != nil {
				t.Error(err)
			}
			if back {
				all := <-text
				if !regexp.MustCompile(`\[WARN\]  balhost: [1-9]\d* lines dropped`).MatchString(all) || !strings.Contains(all, "host has stopped") {
					t.Errorf("the log doesn't tell of dropped lines, or not of the end: …%s", all[max(0, len(all)-2000):])
				}
			}
		})
	}
}

// A host that crashes while nobody reads its log ends all the same, and its trace
// is on disk. SIGQUIT has the runtime write as a panic does, past the log.
func TestCrashWhileLogReaderStalls(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("stderr can't be opened anew here")
	}
	sim, err := ccssim.NewServer(ccssim.Options{Listen: "127.0.0.1:0", CAFile: filepath.Join(t.TempDir(), "ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	host, _, address := stalling(t, sim)
	if err := sim.StartDevices(ccssim.Devices{Count: 5, Rate: 200, Category: "com.example.echo"}); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		status, err := adminOf(address)
		return err == nil && status.Log != nil && status.Log.Dropped > 0
	}) {
		t.Fatal("the log was never too long for its pipe")
	}
	if err := host.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-host.exited:
	case <-time.After(time.Minute):
		t.Fatal("a host that crashed has not ended")
	}
	trace, err := os.ReadFile(filepath.Join(host.cmd.Dir, "data", "crash.log"))
	if err != nil || !strings.Contains(string(trace), "goroutine ") {
		t.Errorf("the trace on disk: %.200q, %v", trace, err)
	}
}

// A log reader that dies ends nothing: not by SIGPIPE, which a service manager
// takes for a clean end.
func TestLogReaderDies(t *testing.T) {
	t.Parallel()
	sim, err := ccssim.NewServer(ccssim.Options{Listen: "127.0.0.1:0", CAFile: filepath.Join(t.TempDir(), "ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	host, reader, address := stalling(t, sim)
	reader.Close()
	if err := sim.StartDevices(ccssim.Devices{Count: 5, Rate: 200, Category: "com.example.echo"}); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		status, err := adminOf(address)
		return err == nil && status.Log != nil && status.Log.Failed > 10 && answers(sim) > 100
	}) {
		t.Errorf("nothing goes on beside a log that can't be written; it has ended: %v", host.over())
	}
	if err := host.stop(); err != nil {
		t.Error(err)
	}
}

// What a command prints may be cut off by its reader, who has seen enough; but it
// must not be lost without an error.
func TestStdoutEnds(t *testing.T) {
	t.Parallel()
	run := func(stdout *os.File, args ...string) (code int, stderr string) {
		t.Helper()
		var said strings.Builder
		cmd := exec.Command("balhost", args...)
		cmd.Stdout, cmd.Stderr = stdout, &said
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return -int(status.Signal()), said.String()
		}
		return status.ExitStatus(), said.String()
	}
	for _, args := range [][]string{{"version"}, {"--help"}, {"status", "--help"}, {"check", "-c", "../config.hcl", "--json"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		want, _ := run(nil, args...)
		if code, said := run(w, args...); code != want || strings.Contains(said, "pipe") {
			t.Errorf("balhost %q into a pipe without a reader: exit %d, want %d; said %q", args, code, want, said)
		}
		w.Close()
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			continue // not here
		}
		if code, said := run(full, args...); code != exitFailed || !strings.Contains(said, "no space left") {
			t.Errorf("balhost %q into a full disk: exit %d, said %q", args, code, said)
		}
		full.Close()
	}
}

// SIGTERM ends a command whose answer nobody reads.
func TestStdoutStalls(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fill(t, w)
	cmd := exec.Command("balhost", "version")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	time.Sleep(100 * time.Millisecond) // if that is too short, the test says less
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		cmd.Process.Kill()
		t.Error("it waits for the reader of its answer, whatever it is told")
	}
}

// fill leaves no room in a pipe.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	if err := w.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := w.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
}
