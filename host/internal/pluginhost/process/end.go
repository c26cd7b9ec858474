package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"balhost/host/internal/pluginhost/artefact"
)

// Broken tells that the connection has broken. Often the process's exit broke it and
// is noticed a little later, so Broken waits a moment for that.
func (p *Process) Broken() {
	p.died = p.Started() && p.exits(p.limits.Moment)
}

// End ends the process, if it has not died, and returns when it was awaited and all
// that it printed was logged. Nothing that it has started is left.
func (p *Process) End() {
	if p.Started() {
		if !p.died {
			p.shutDown()
		}
		<-p.exited
	}
	p.lines.flush()
}

// Close removes what belonged to the process, after End.
func (p *Process) Close() {
	p.hangUp()
	if p.client != nil && (p.dialled || !p.handshake.found.Load()) {
		p.client.Kill() // it only tidies up; without a connection it would dial once more
	}
	if p.socketDir != "" {
		if err := os.RemoveAll(p.socketDir); err != nil {
			p.lines.log.Warn("remove plugin's socket", "err", err)
		}
	}
}

// shutDown makes the process exit. It is asked by go-plugin's Shutdown, then by
// SIGTERM, and has a while for each. Then it is killed.
func (p *Process) shutDown() {
	grace := p.limits.Grace
	if p.dialled && p.Killed() == "" {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		// go-plugin's own message types are internal, and empty like this one.
		err := p.conn.Load().Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
		switch status.Code(err) { // a plugin without this service gets the signal at once
		case codes.OK, codes.Unavailable: // go-plugin's server is gone before it has answered
			if p.exits(grace) {
				return
			}
		}
	}
	p.signal(syscall.SIGTERM)
	if !p.exits(grace) {
		p.lines.log.Warn("plugin did not exit when asked: killed")
		p.Kill("did not exit when asked")
	}
}

// Explain says why the process ended. What is known of the process explains more than
// err, which is how the host noticed.
func (p *Process) Explain(err error) error {
	if errors.As(err, new(artefact.Fault)) {
		return err
	}
	var died time.Time
	if p.died {
		died = p.ended
	}
	words := p.lines.lastWords(died)
	if words != "" {
		words = "; " + words
	}
	if reason := p.Killed(); reason != "" {
		return errors.New(reason + words)
	} else if !p.died {
		return fmt.Errorf("%w%s", err, words)
	}
	var how syscall.WaitStatus // status 0 if it isn't known
	if state := p.cmd.ProcessState; state != nil {
		how = state.Sys().(syscall.WaitStatus)
	}
	ended := fmt.Sprintf("exited with status %d", how.ExitStatus())
	if how.Signaled() {
		ended = "killed by signal: " + how.Signal().String()
	}
	if p.handshake.found.Load() {
		if reason := artefact.Flaw(p.path); reason != "" { // what it may have died of
			words = "; its file " + reason + words
		}
		return errors.New(ended + words)
	}
	if reason := artefact.Flaw(p.path); reason != "" {
		return artefact.Fault("not a plugin: it " + reason + "; " + ended + words)
	} else if reason := artefact.Lack(p.path); reason != "" {
		return errors.New("can't be started: it " + reason + "; " + ended + words)
	} else if how.Signaled() {
		return errors.New(ended + words)
	}
	if how.ExitStatus() == 0 {
		return artefact.Fault("not a plugin: exited before the handshake with status 0 (a script must start its program with exec)" + words)
	}
	return fmt.Errorf("exited before the handshake with status %d%s", how.ExitStatus(), words)
}
