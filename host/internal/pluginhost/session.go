package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost/artefact"
	"balhost/host/internal/pluginhost/process"
	"balhost/host/internal/status"
	"balhost/sdk/wire"
)

// describe asks the plugin what it is, and refuses what can't be.
func (l *life) describe(ctx context.Context, rpc *wire.Client) error {
	limit := l.limits.Answer
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := rpc.Describe(ctx, &wire.DescribeRequest{HostVersion: l.host.o.Version, Capabilities: wire.HostCapabilities()})
	if err != nil {
		return process.Failed("Describe", limit, err)
	}
	if err := wire.CheckManifest(l.name, m); err != nil { // its limits bound what the dispatcher does with a claim
		return artefact.Fault(plain.Line(err.Error(), 400))
	}
	if len(l.options.Categories) > 0 && !m.GetUpstream() { // they would be lost to it
		return artefact.Fault("it has no handler for upstreams, and config.hcl gives it categories: take them out, or add the handler")
	}
	l.manifest = m
	return nil
}

// open opens the session and makes the process known to the dispatcher.
func (l *life) open(rpc *wire.Client) (err error) {
	if l.facts, err = Facts(l.options, l.manifest); err != nil {
		return err
	}
	l.closed = make(chan struct{})
	l.facts.Content, l.facts.Closed, l.facts.Trier = l.version.SHA256+" "+l.version.Options.Print, l.closed, l.trier
	var ctx context.Context
	ctx, l.cut = context.WithCancel(context.Background()) // run cuts it, when the process has exited
	if l.session, err = rpc.Open(ctx); err != nil {
		l.cut()
		return fmt.Errorf("can't be talked to: %w", err)
	}
	l.dispatch = l.host.o.Dispatcher.Described(l.facts, l)
	go func() { //house:go run waits for closed
		l.broke = l.session.Run(l.hear)
		close(l.closed)
	}()
	l.began, l.rpc = time.Now(), rpc
	l.process.Restrict()
	l.place()
	l.news(described)
	return nil
}

// What follows is the dispatcher's end of the process: instance.Process.

// Send queues a frame for the process.
func (l *life) Send(f *wire.HostFrame) { l.session.Send(f) }

// Kill ends the process as hung or broken.
func (l *life) Kill(reason string) { l.process.Kill(reason) }

// StartTrier asks the supervisor for a second process.
func (l *life) StartTrier() { l.news(wantsTrier) }

// Retire asks the supervisor to end this one, which is a trier.
func (l *life) Retire() { l.news(retired) }

// hear takes a frame of the process, and passes it on to the dispatcher.
func (l *life) hear(f *wire.PluginFrame) {
	if f.RunFailure != nil {
		l.heardRun(f.RunFailure)
	}
	l.dispatch.Frame(f)
}

// broken says why the session has ended.
func (l *life) broken() error {
	if l.broke == nil {
		return errors.New("broke: it ended its session unasked")
	}
	return errors.New("broke: its session ended: " + plain.Line(l.broke.Error(), 400))
}

// met is how long a first ping may take before Configure is called all the same.
const met = time.Second

// meet waits until the plugin's code has Session: a gRPC server runs each call on a task of
// its own, so Configure could reach it first.
func (l *life) meet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, met)
	defer cancel()
	_ = l.session.Ping(ctx) // who does not answer is found by Configure, or by later pings
}

// configure hands over the config, and waits for the plugin's Start.
func (l *life) configure(ctx context.Context, rpc *wire.Client) error {
	limit := l.limits.configure
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.meet(ctx)
	l.sessions = l.host.toldSessions()
	err := rpc.Configure(ctx, &wire.ConfigureRequest{
		Config: l.options.Config, LogLevel: l.lines.Level(), Sessions: l.sessions.names, Transports: l.sessions.transports, Former: l.sessions.former,
		HostVersion: l.host.o.Version, Limits: wire.NewLimits(l.facts.MaxInFlight, l.host.limits.ping),
	})
	if errors.Is(err, wire.ErrInvalid) {
		said := strings.TrimPrefix(err.Error(), wire.ErrInvalid.Error()+": ")
		return errors.New("refused to start: " + plain.Line(said, 1000)) // no fault: a service may be missing
	}
	if err != nil {
		return process.Failed("Configure", limit, err)
	}
	return nil
}

// runCalm is how long a Run that has failed must go on until it counts as mended. It is
// the longest wait between two tries.
const runCalm = time.Minute

// failing reports whether Run has failed lately; nil: never.
func failing(f *status.RunFailure, now time.Time) bool {
	return f != nil && now.Before(f.Next.Add(runCalm))
}

// heardRun takes what a process says of its Run. It runs on the session's reading
// goroutine, and keeps the last only, however many come.
func (l *life) heardRun(f *wire.RunFailure) {
	now := time.Now()
	wait := time.Duration(min(max(f.GetWaitMs(), 0), time.Hour.Milliseconds())) * time.Millisecond
	l.failure.Store(&status.RunFailure{Failures: int(f.GetFailures()), Error: plain.Line(f.GetError(), 400), At: now, Next: now.Add(wait)})
	l.host.metrics.runs.WithLabelValues(l.name).Inc()
}
