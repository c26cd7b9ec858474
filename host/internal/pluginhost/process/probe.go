package process

import (
	"crypto/tls"
	"crypto/x509"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// What follows is for a check of a plugin, which looks closer than a host does.

// Socket is the path of its socket, after Shake.
func (p *Process) Socket() string { return p.address }

// Preamble is how many lines it has printed to stdout before its handshake, after Shake.
func (p *Process) Preamble() int { return p.handshake.seen }

// TLS is the host's end of the mutual TLS, after Shake.
func (p *Process) TLS() *tls.Config { return p.tls }

// StrangerTLS is the end of a client that is not the process's host: it has another
// certificate, and accepts any.
func StrangerTLS() (*tls.Config, error) {
	stranger, err := newIdentity(x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{stranger.cert.Raw}, PrivateKey: stranger.key}},
		MinVersion:   tls.VersionTLS12, InsecureSkipVerify: true,
	}, nil
}

// Conn is the connection, after Connect.
func (p *Process) Conn() *grpc.ClientConn { return p.conn.Load() }

// HangUp breaks the connection off.
func (p *Process) HangUp() { p.hangUp() }

// Signal sends a signal to the process and its group, as a terminal does.
func (p *Process) Signal(sig syscall.Signal) { p.signal(sig) }

// KillHead kills the first process alone, as one that the kernel ends for lack of memory.
func (p *Process) KillHead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live {
		_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL) // it may have exited
	}
}

// Kin is how many processes live that it has started.
func (p *Process) Kin() int {
	n := p.kin.count()
	if p.Runs() {
		n-- // itself
	}
	return max(n, 0)
}

// Ended says how the process ended, after Exited.
func (p *Process) Ended() syscall.WaitStatus {
	if state := p.cmd.ProcessState; state != nil {
		return state.Sys().(syscall.WaitStatus)
	}
	return 0
}

// Left is how many processes that it had started lived when it had exited. They have
// been killed. It is 0 where the system doesn't tell.
func (p *Process) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// CPU is the time that it has used with all that it has started; 0: not known.
func (p *Process) CPU() time.Duration { return CPU(p.PID()) }
