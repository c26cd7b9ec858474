package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sync/errgroup"
)

// process is one plugin process: go-plugin's Runner, hardened against what its
// own does wrong. It leads a process group of its own, has /dev/null for stdin,
// a minimal environment, and pipes that no grandchild can keep us waiting on.
// go-plugin gets to see nothing but the handshake line, since its log parser
// panics on some lines and its reader stalls on long ones.
//
// A process is used once. Start comes before everything else but kill.
type process struct {
	path  string   // the staged copy
	dir   string   // its working folder
	kin   kin      // what it starts, and itself
	env   []string // the config's and then go-plugin's own, added to the minimal one: the last of a name counts
	lines *lines   // takes what it prints
	spawn func(func() error) error
	known *children // all of the host's

	socketDir string // made by go-plugin
	handshake *handshake
	stdout    *io.PipeReader // what go-plugin reads: the handshake line and then nothing
	stdoutEnd *io.PipeWriter
	stderr    *io.PipeReader // never says anything
	stderrEnd *io.PipeWriter

	cmd    *exec.Cmd
	tasks  errgroup.Group
	exited chan struct{} // closed when it was awaited, its kin killed and its last words read

	mu     sync.Mutex // guards what follows
	live   bool       // pid is ours to signal: started and not reaped yet
	killed string     // why we killed it; "": we didn't
}

var _ runner.Runner = (*process)(nil)

func newProcess(path, dir string, k kin, l *lines, h *Host) *process {
	p := &process{path: path, dir: dir, kin: k, lines: l, spawn: h.spawner.start, known: h.children, exited: make(chan struct{})}
	p.stdout, p.stdoutEnd = io.Pipe()
	p.stderr, p.stderrEnd = io.Pipe()
	p.handshake = &handshake{out: p.stdoutEnd, lines: l}
	return p
}

// Start starts the process; on an error nothing of it is left.
func (p *process) Start(context.Context) (err error) {
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
	cmd.Stdout, cmd.Stderr = outW, errW // as *os.File: Wait has no copying to wait for
	cmd.SysProcAttr = sysProcAttr()
	err = p.spawn(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		p.known.started(cmd.Process.Pid)
		return nil
	})
	if err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	p.cmd, p.live = cmd, true
	p.kin.pipes = []string{pipeName(outR), pipeName(errR)}
	if err := restrict(cmd.Process.Pid); err != nil { // it may have ended
		p.lines.log.Debug("plugin's limits are not set", "err", err)
	}
	p.tasks.Go(func() error { return p.handshake.read(outR) })
	p.tasks.Go(func() error { return eachLine(errR, func(line []byte, _ bool) { p.lines.stderr(line) }) })
	go p.await(outR, errR) //house:go ends with the process; exited says so, and life.bury waits for it
	return nil
}

// await waits for the process's end, ends what it has started, and waits for its
// last words, which a grandchild that escapes and holds a pipe can delay by a
// second only.
func (p *process) await(pipes ...*os.File) {
	reap(p.cmd, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.signal(syscall.SIGKILL) // what is left of the group
		p.live = false
	})
	p.known.awaited(p.cmd.Process.Pid)
	if _, left := p.kin.end(kinTime); left {
		p.lines.log.Error("processes that the plugin has started can't be ended")
	}
	for _, pipe := range pipes {
		_ = pipe.SetReadDeadline(time.Now().Add(time.Second)) // pipes have deadlines; without one the close below ends the reading
	}
	_ = p.tasks.Wait() // a read error is the end of the words, no more
	for _, pipe := range pipes {
		pipe.Close()
	}
	p.stdoutEnd.Close()
	p.stderrEnd.Close()
	close(p.exited)
}

// signal sends sig to the process's group, and to the process if it has left
// that. mu is held. Errors mean that the process is gone already, which is fine.
func (p *process) signal(sig syscall.Signal) {
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

// terminate asks the group to end.
func (p *process) terminate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signal(syscall.SIGTERM)
}

// kill ends the process and its group at once; the first reason counts, if it
// still makes a difference. Before the start it prevents it; else exited follows.
func (p *process) kill(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed == "" && (p.live || p.cmd == nil) {
		p.killed = reason
	}
	p.signal(syscall.SIGKILL)
}

// started reports whether there is or was a process, hence an exit to wait for.
func (p *process) started() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// runs reports whether it has been started and has not ended.
func (p *process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

// reason says why it was killed by us; "" when it wasn't.
func (p *process) reason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// exits waits for the exit for as long as d, and reports whether it came.
func (p *process) exits(d time.Duration) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-p.exited:
		return true
	case <-late.C:
		return false
	}
}

// pid is its number, after the start.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// ending says how it ended, after exited: by a signal, or with a status.
func (p *process) ending() (status int, signal string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.cmd.ProcessState == nil {
		return 0, ""
	}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 0, ws.Signal().String()
	}
	return p.cmd.ProcessState.ExitCode(), ""
}

// The rest is what go-plugin asks of a Runner.

// Wait waits until the process was awaited.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill is go-plugin's, after a failed handshake.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signal(syscall.SIGKILL)
	return nil
}

// ID is never empty: go-plugin would leave its socket folder behind.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return "not started"
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

// Name is the copy's path.
func (p *process) Name() string { return p.path }

// Stdout carries the handshake line and nothing else.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr carries nothing.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Diagnose adds nothing: the reasons are ours.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost changes nothing: both live in one file system.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin changes nothing either.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// variables is Env as a process takes it.
func (o PluginOptions) variables() []string {
	var env []string
	for name, value := range o.Env {
		env = append(env, name+"="+value)
	}
	return env
}

// minimalEnv is all of the host's environment that a plugin gets: the rest may
// be secrets.
func minimalEnv() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TZ", "LANG", "TMPDIR"} {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	return env
}
