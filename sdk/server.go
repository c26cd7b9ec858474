package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
)

// NewServer makes the gRPC service of a plugin. It is for tests and for hosts that
// run a plugin in their own process; a plugin's main calls [Serve] instead. The error
// says what is wrong with p. A server serves one host, once. When that connection has
// ended, ended is called, unless it is nil.
func NewServer(p Plugin, log hclog.Logger, ended func()) (wire.PluginServer, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if ended == nil {
		ended = func() {}
	}
	return &server{plugin: &p, log: log, ended: ended, opened: make(chan struct{})}, nil
}

// server answers Describe, one Session, and one Configure.
type server struct {
	wire.UnimplementedPluginServer
	plugin *Plugin
	log    hclog.Logger
	ended  func()

	mu         sync.Mutex // guards link and configured
	link       *link
	configured bool
	opened     chan struct{} // closed when link is set

	measuring sync.Mutex // held while the plugin's Metrics runs
}

// Describe returns the plugin's manifest.
func (s *server) Describe(_ context.Context, r *wire.DescribeRequest) (*wire.Manifest, error) {
	m := s.plugin.manifest()
	m.Capabilities = wire.Common(s.capabilities(), r.GetCapabilities())
	return m, nil
}

// Session serves the host until their connection ends.
func (s *server) Session(rpc wire.Plugin_SessionServer) error {
	s.mu.Lock()
	if s.link != nil {
		s.mu.Unlock()
		return wire.Status(fmt.Errorf("%w: Session was called before in this process", wire.ErrPrecondition))
	}
	s.link = newLink(s.plugin, s.log, wire.NewPluginStream(rpc))
	s.mu.Unlock()
	close(s.opened)
	defer s.ended()
	return wire.Status(s.link.serve(rpc.Context()))
}

// Configure decodes the config and runs Start. Their errors stand in the reply.
func (s *server) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	select {
	case <-s.opened:
	case <-ctx.Done():
		return nil, wire.Status(fmt.Errorf("%w: Configure was called before Session", wire.ErrPrecondition))
	}
	s.mu.Lock()
	again := s.configured
	s.configured = true
	s.mu.Unlock()
	if again {
		return nil, wire.Status(fmt.Errorf("%w: Configure was called before in this process", wire.ErrPrecondition))
	}
	setLevel(s.log, r.LogLevel)
	if err := s.start(ctx, r); err != nil {
		return &wire.ConfigureReply{Error: fmt.Sprintf("plugin %s: %v", s.plugin.Name, err)}, nil
	}
	close(s.link.started)
	return &wire.ConfigureReply{}, nil
}

func (s *server) start(ctx context.Context, r *wire.ConfigureRequest) error {
	if err := decodeConfig(r.Config, s.plugin.Config); err != nil {
		return err
	}
	s.link.host.sessions.set(r.Former, nil) // as if it had told them earlier
	s.link.host.sessions.set(r.Sessions, r.Transports)
	if s.plugin.Start == nil {
		return nil
	}
	if err := safely(func() error { return s.plugin.Start(ctx, s.link.host) }); err != nil {
		return errors.Join(fmt.Errorf("start: %w", err), ctx.Err())
	}
	return nil
}

func setLevel(log hclog.Logger, level string) {
	if l := hclog.LevelFromString(level); l != hclog.NoLevel {
		log.SetLevel(l)
	}
}
