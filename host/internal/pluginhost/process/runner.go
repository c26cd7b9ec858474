package process

import (
	"context"
	"io"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-plugin/runner"
)

// asRunner is a process as go-plugin wants to run it.
type asRunner struct{ *Process }

var _ runner.Runner = asRunner{}

func (p asRunner) Start(context.Context) error { return p.fork() }

func (p asRunner) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill is go-plugin's, after a failed handshake.
func (p asRunner) Kill(context.Context) error {
	p.signal(syscall.SIGKILL)
	return nil
}

// ID is never empty. Else go-plugin would leave its socket folder behind.
func (p asRunner) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return "not started"
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

func (p asRunner) Name() string { return p.path }

// Stdout carries the handshake line and nothing else.
func (p asRunner) Stdout() io.ReadCloser { return p.stdout }

// Stderr carries nothing.
func (p asRunner) Stderr() io.ReadCloser { return p.stderr }

// Diagnose adds nothing: the reasons are ours.
func (p asRunner) Diagnose(context.Context) string { return "" }

// Both live in one file system, so an address is the same to both.

func (p asRunner) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

func (p asRunner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
