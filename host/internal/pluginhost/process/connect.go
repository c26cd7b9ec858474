package process

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
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

// Start starts the process and connects to it. It returns when the plugin has made
// its handshake and says that it is well. After an error too, End and Close follow.
func (p *Process) Start(ctx context.Context) (*wire.Client, error) {
	if err := p.Shake(); err != nil {
		return nil, err
	}
	return p.Connect(ctx)
}

// Abort kills the process and ends a Start that is under way.
func (p *Process) Abort(reason string) {
	p.Kill(reason)
	p.hangUp()
}

// Shake starts the process and reads its handshake. It is the first half of Start.
func (p *Process) Shake() error {
	if err := openSockets(p.parent.sockets); err != nil { // a cleaner of temporary files may have removed it
		return fmt.Errorf("can't be started: %w", err)
	}
	secrets, err := newCredentials()
	if err != nil {
		return err
	}
	limit := p.limits.Handshake
	p.tls = secrets.clientTLS()
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.Plugins(nil),
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.env, p.socketDir = append(append(p.env, spec.Env...), wire.HostCertVariable+"="+string(secrets.host.certPEM())), socketDir
			return asRunner{p}, secrets.write(socketDir)
		},
		TLSConfig:        p.tls,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     2 * limit, // our limit ends it earlier, and gives the reason
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: p.parent.sockets},
		SyncStdout:       &lineWriter{f: p.lines.relayed.out.line, pace: newPace()},
		SyncStderr:       &lineWriter{f: p.lines.relayed.err.line, pace: newPace()},
		Logger:           hclog.NewNullLogger(), // what matters comes as an error
		GRPCDialOptions:  append(wire.DialOptions(), grpc.WithChainStreamInterceptor(p.see)),
	})
	defer time.AfterFunc(limit, func() { p.Kill(fmt.Sprintf("hangs: no handshake within %v (start_timeout)", limit)) }).Stop()
	address, err := p.client.Start()
	switch flaw := p.handshake.flaw.Load(); {
	case err == nil:
		p.address = address.String()
		return nil
	case flaw != nil:
		return artefact.Fault(*flaw)
	case p.handshake.found.Load(): // go-plugin didn't like it
		return artefact.Fault("prints garbage: a handshake with " + plain.Line(err.Error(), 200))
	case !p.Started():
		return artefact.Unstarted(p.path, err)
	}
	return err
}

// see is a stream interceptor that notes the connection. go-plugin opens two streams
// on it at once. When the plugin dies in this moment, go-plugin doesn't close it.
func (p *Process) see(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	p.conn.Store(conn)
	return next(ctx, desc, conn, method, opts...)
}

// hangUp closes the connection, if there is one.
func (p *Process) hangUp() {
	if conn := p.conn.Load(); conn != nil {
		conn.Close()
	}
}

// Connect makes the connection and asks whether the plugin is well. It is the second half
// of Start.
func (p *Process) Connect(ctx context.Context) (*wire.Client, error) {
	limit := p.limits.Answer
	// go-plugin's Client and Ping take no deadline. While Client waits, go-plugin
	// doesn't notice the process's end.
	late := time.AfterFunc(limit, func() {
		p.Abort(fmt.Sprintf("hangs: no connection within %v", limit))
	})
	defer late.Stop()
	rpc, err := p.client.Client()
	if err != nil {
		return nil, fmt.Errorf("can't be connected to: %w", err)
	}
	late.Stop()
	p.dialled = true
	raw, err := rpc.Dispense(wire.Name)
	if err != nil {
		return nil, fmt.Errorf("can't be connected to: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	health, err := grpc_health_v1.NewHealthClient(p.conn.Load()).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch {
	case err != nil:
		return nil, Failed("health check", limit, err)
	case health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return nil, fmt.Errorf("is not well: its health is %s", health.GetStatus())
	}
	return raw.(*wire.Client), nil
}

// Failed says what a failed call means.
func Failed(call string, limit time.Duration, err error) error {
	switch code := status.Code(err); {
	case code == codes.Unimplemented:
		return artefact.Fault(fmt.Sprintf("not a plugin of this host: it doesn't know %s; build it with this host's sdk", call))
	case code == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("hangs: no answer to %s within %v (start_timeout)", call, limit)
	}
	return fmt.Errorf("fails at %s: %s", call, plain.Line(err.Error(), 400))
}
