package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"balhost/host/internal/plain"
	"balhost/host/internal/pluginhost/artefact"
	"balhost/sdk/wire"
)

// handshake starts the process and reads its handshake.
func (l *life) handshake() error {
	if err := l.host.furnish(l.name); err != nil {
		return fmt.Errorf("can't be started: %w", err)
	}
	tlsConfig, cert, err := clientTLS()
	if err != nil {
		return err
	}
	p, limit := l.process, l.host.limits.handshake
	l.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.Plugins(nil),
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.env, p.socketDir = append(append(l.options.variables(), spec.Env...), "PLUGIN_CLIENT_CERT="+cert), socketDir
			return p, nil
		},
		TLSConfig:        tlsConfig,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     2 * limit, // ours comes first and gives the reason
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.host.sockets},
		SyncStdout:       &lineWriter{f: p.lines.stdout, pace: newPace()},
		SyncStderr:       &lineWriter{f: p.lines.stderr, pace: newPace()},
		Logger:           hclog.NewNullLogger(), // whatever matters comes as an error
		GRPCDialOptions:  append(wire.DialOptions(), grpc.WithChainStreamInterceptor(l.see)),
	})
	defer time.AfterFunc(limit, func() { p.kill(fmt.Sprintf("hangs: no handshake within %v", limit)) }).Stop()
	_, err = l.client.Start()
	switch verdict := p.handshake.verdict(); {
	case err == nil:
		return nil
	case verdict != "":
		return artefact.Fault(verdict)
	case p.handshake.done(): // go-plugin didn't like it
		return artefact.Fault("prints garbage: a handshake with " + plain.Line(err.Error(), 200))
	case !p.started():
		return artefact.Unstarted(p.path, err)
	}
	return err
}

// see is a stream interceptor that notes the connection. go-plugin opens two
// streams on it at once; when the plugin dies meanwhile it forgets to close it.
func (l *life) see(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	l.conn.Store(conn)
	return next(ctx, desc, conn, method, opts...)
}

// hangUp closes the connection, if there is one.
func (l *life) hangUp() {
	if conn := l.conn.Load(); conn != nil {
		conn.Close()
	}
}

// connect makes the connection and asks whether the plugin is well.
func (l *life) connect(ctx context.Context) (*wire.Client, error) {
	limit := l.host.limits.answer
	// go-plugin's Client takes no deadline and its Ping neither; and while
	// Client waits, go-plugin doesn't hear of the process's end.
	late := time.AfterFunc(limit, func() { //house:go kills, which does not block
		l.process.kill(fmt.Sprintf("hangs: no connection within %v", limit))
		l.hangUp()
	})
	defer late.Stop()
	rpc, err := l.client.Client()
	if err != nil {
		return nil, fmt.Errorf("can't be connected to: %w", err)
	}
	late.Stop()
	l.dialled = true
	raw, err := rpc.Dispense(wire.Name)
	if err != nil {
		return nil, fmt.Errorf("can't be connected to: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	health, err := grpc_health_v1.NewHealthClient(l.conn.Load()).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch {
	case err != nil:
		return nil, failed("health check", limit, err)
	case health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return nil, fmt.Errorf("is not well: its health is %s", health.GetStatus())
	}
	return raw.(*wire.Client), nil
}

// describe asks the plugin what it is, and refuses what can't be.
func (l *life) describe(ctx context.Context, rpc *wire.Client) error {
	limit := l.host.limits.answer
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := rpc.Describe(ctx, &wire.DescribeRequest{HostVersion: l.host.o.Version})
	if err != nil {
		return failed("Describe", limit, err)
	}
	if err := wire.CheckManifest(l.name, m); err != nil { // its limits bound what the dispatcher does with a claim
		return artefact.Fault(plain.Line(err.Error(), 400))
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
	ctx, l.cut = context.WithCancel(context.Background()) // bury cuts it, when the process has exited
	if l.session, err = rpc.Open(ctx); err != nil {
		l.cut()
		return fmt.Errorf("can't be talked to: %w", err)
	}
	l.dispatch = l.host.o.Dispatcher.Described(l.facts, l)
	go func() { //house:go bury waits for closed
		l.broke = l.session.Run(l.hear)
		close(l.closed)
	}()
	l.began = time.Now()
	l.process.kin.restrict()
	l.place()
	l.news(described)
	return nil
}

// What follows is the dispatcher's end of the process: instance.Process.

// Send queues a frame for the process.
func (l *life) Send(f *wire.HostFrame) { l.session.Send(f) }

// Kill ends the process as hung or broken.
func (l *life) Kill(reason string) { l.process.kill(reason) }

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

// configure hands over the config, and waits for the plugin's Start.
func (l *life) configure(ctx context.Context, rpc *wire.Client) error {
	limit := l.host.limits.configure
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l.sessions = l.host.o.Sessions()
	err := rpc.Configure(ctx, &wire.ConfigureRequest{
		Config: l.options.Config, LogLevel: l.level, Sessions: l.sessions,
	})
	if errors.Is(err, wire.ErrInvalid) {
		said := strings.TrimPrefix(err.Error(), wire.ErrInvalid.Error()+": ")
		return artefact.Fault("refused to start: " + plain.Line(said, 1000))
	}
	if err != nil {
		return failed("Configure", limit, err)
	}
	return nil
}

// failed says what a failed call means.
func failed(call string, limit time.Duration, err error) error {
	switch code := status.Code(err); {
	case code == codes.Unimplemented:
		return artefact.Fault(fmt.Sprintf("not a plugin of this host: it doesn't know %s; build it with this host's sdk", call))
	case code == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("hangs: no answer to %s within %v", call, limit)
	}
	return fmt.Errorf("fails at %s: %s", call, plain.Line(err.Error(), 400))
}
