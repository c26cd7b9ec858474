package process

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	plugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Process is one plugin process. It leads a process group of its own, has /dev/null for
// stdin and a minimal environment. It replaces go-plugin's own way to run a command,
// which has faults: a grandchild that holds a pipe keeps it waiting, its log parser
// panics on some lines, and its reader stalls on long ones. So go-plugin gets the
// handshake line and nothing else.
//
// A process is used once: Start, End, Close. Kill and Abort may come at any time.
type Process struct {
	parent *Parent
	limits Limits
	path   string   // the staged copy
	dir    string   // its working folder
	kin    kin      // what it starts, and itself
	env    []string // added to the minimal one: the config's, then go-plugin's own; the last of a name counts
	lines  *lines   // takes what it prints

	socketDir string // made by go-plugin
	handshake *handshake
	stdout    *io.PipeReader // what go-plugin reads: the handshake line and then nothing
	stdoutEnd *io.PipeWriter
	stderr    *io.PipeReader // never says anything
	stderrEnd *io.PipeWriter

	cmd    *exec.Cmd
	tasks  errgroup.Group
	exited chan struct{} // closed when it was awaited, its kin killed and its last words read
	ended  time.Time     // when it was awaited, set before that

	client  *plugin.Client // nil before shake
	address string         // of its socket, after shake
	tls     *tls.Config    // of the host's end; nil before shake
	dialled bool           // client has its connection
	conn    atomic.Pointer[grpc.ClientConn]
	died    bool // exited before it was asked or made to

	mu     sync.Mutex // guards what follows
	live   bool       // pid is ours to signal: started and not reaped yet
	left   int        // processes that it had started and that lived when it had exited
	killed string     // why we killed it; "": we didn't
}

// Limits are the times of a process.
type Limits struct {
	Handshake time.Duration // from the process's start to its handshake
	Answer    time.Duration // of the connection and the health check, each
	Grace     time.Duration // for an exit after Shutdown, and again after SIGTERM
	Moment    time.Duration // between a broken connection and the exit that broke it
}

// New makes a process of the program at path, to run in the folder dir with these
// variables in its environment. Start starts it.
func (h *Parent) New(path, dir string, env []string, out *Output, limits Limits) *Process {
	l := newLines(out)
	p := &Process{
		parent: h, limits: limits, path: path, dir: dir, env: env, kin: h.kin.one(h.started.Add(1)), lines: l, exited: make(chan struct{}),
	}
	p.stdout, p.stdoutEnd = io.Pipe()
	p.stderr, p.stderrEnd = io.Pipe()
	p.handshake = &handshake{out: p.stdoutEnd, lines: l}
	return p
}

// fork starts the process; on an error nothing of it is left.
func (p *Process) fork() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed != "" {
		return errors.New(p.killed)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make stdout: %w", err)
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		return fmt.Errorf("make stderr: %w", err)
	}
	defer errW.Close()

	cmd := exec.Command(p.path) // Stdin nil is /dev/null
	cmd.Dir, cmd.Env = p.dir, append(append(minimalEnv(), p.env...), p.kin.variable())
	cmd.Stdout, cmd.Stderr = outW, errW // as *os.File, so that Wait waits for no copying
	cmd.SysProcAttr = sysProcAttr()
	if err = p.parent.startChild(cmd); err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	p.cmd, p.live = cmd, true
	p.kin.pipes = []string{pipeName(outR), pipeName(errR)}
	if err := restrict(cmd.Process.Pid); err != nil { // it may have ended
		p.lines.log.Debug("plugin's limits are not set", "err", err)
	}
	p.tasks.Go(func() error { return eachLine(outR, p.handshake.line) })
	p.tasks.Go(func() error { return eachLine(errR, func(line []byte, _ bool) { p.lines.piped.err.line(line) }) })
	go p.await(outR, errR) //house:go ends with the process; exited says so, and End waits for it
	return nil
}

// await waits for the process's end, ends what it has started, and waits for its last
// words. A grandchild that has escaped and holds a pipe can delay these by a second.
func (p *Process) await(pipes ...*os.File) {
	reap(p.cmd, func() {
		left := p.kin.count()
		p.signal(syscall.SIGKILL) // what is left of the group
		p.mu.Lock()
		defer p.mu.Unlock()
		p.live, p.left = false, left
	})
	p.ended = time.Now()
	p.parent.awaited(p.cmd.Process.Pid)
	if _, left := p.kin.end(kinTime); left {
		p.lines.log.Error("processes that the plugin has started can't be ended")
	}
	for _, pipe := range pipes {
		_ = pipe.SetReadDeadline(time.Now().Add(time.Second)) // if this fails, the close below ends the reading
	}
	_ = p.tasks.Wait() // a read error only ends the words
	for _, pipe := range pipes {
		pipe.Close()
	}
	p.stdoutEnd.Close()
	p.stderrEnd.Close()
	close(p.exited)
}

// signal sends sig to the process's group, and to the process if it has left
// that. Errors mean that the process is gone already, which is fine.
func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.live {
		return
	}
	pid := p.cmd.Process.Pid
	_ = syscall.Kill(-pid, sig)
	if group, err := syscall.Getpgid(pid); err == nil && group != pid {
		_ = syscall.Kill(pid, sig)
	}
}

// pipeName is what the system calls a pipe, at both of its ends.
func pipeName(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return "" // no pipe's name
	}
	return fmt.Sprintf("pipe:[%d]", info.Sys().(*syscall.Stat_t).Ino)
}

// Kill ends the process and its group at once, or prevents its start. The first reason
// counts, unless the process has ended by itself.
func (p *Process) Kill(reason string) {
	p.mu.Lock()
	if p.killed == "" && (p.live || p.cmd == nil) {
		p.killed = reason
	}
	p.mu.Unlock()
	p.signal(syscall.SIGKILL)
}

// Started reports whether there is or was a process, hence an exit to wait for.
func (p *Process) Started() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// Runs reports whether it has been started and has not ended.
func (p *Process) Runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

// Killed says why it was killed by us; "" when it wasn't.
func (p *Process) Killed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// exits waits for the exit for as long as d, and reports whether it came.
func (p *Process) exits(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// PID is its number, after the start.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Exited is closed when the process was awaited, its kin killed and its last words
// read.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Restrict sets the limits of what it has started by now, too.
func (p *Process) Restrict() { p.kin.restrict() }

// Memory is what it has resident with all that it has started, in bytes.
func (p *Process) Memory() int64 { return Memory(p.PID())[0] }

// minimalEnv is what a plugin gets of the host's environment. The rest may be secrets.
func minimalEnv() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TZ", "LANG", "TMPDIR"} {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	return env
}
