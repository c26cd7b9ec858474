package devloop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// command is what builds the plugin.
func (s Source) command(out string, debug bool) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.Path, "build"))
	if s.way == byGo {
		cmd = exec.Command("go", "build", "-o", out, ".")
		if debug {
			cmd.Args = []string{"go", "build", "-gcflags=./...=-N -l", "-o", out, "."}
		}
	}
	cmd.Dir, cmd.Env = s.Path, os.Environ()
	if debug {
		cmd.Env = append(cmd.Env, "BALHOST_DEBUG=1")
	}
	return cmd
}

// buildError is a build that failed.
type buildError struct {
	why    string
	output string // what it has printed
}

func (e buildError) Error() string { return e.why }

// run runs a build, and ends it with all that it has started when ctx ends.
func run(ctx context.Context, cmd *exec.Cmd) error {
	printed := &tail{}
	cmd.Stdout, cmd.Stderr = printed, printed
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, which ends it
	cmd.WaitDelay = time.Second                           // a daemon of the build may keep its output open
	if err := cmd.Start(); err != nil {
		return err
	}
	over := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) //house:go one call, that ends at once
	defer over()
	if err := cmd.Wait(); err != nil {
		return buildError{err.Error(), printed.text()}
	}
	return nil
}

// most is how much of a build's output is kept: its end.
const most = 16 << 10

// tail is the end of an output.
type tail struct {
	kept []byte
	cut  bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if more := len(t.kept) - most; more > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[more:]...), true
	}
	return len(b), nil
}

// text has no half of a line at its begin.
func (t *tail) text() string {
	kept := t.kept
	if _, rest, found := bytes.Cut(kept, []byte("\n")); t.cut && found {
		kept = append([]byte("…\n"), rest...)
	}
	return string(kept)
}
