package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
)

// NewServer is the plugin as the service that a host talks to, for tests and
// hosts that run a plugin in their own process; [Serve] does all that a plugin's
// main needs. The error says what is wrong with p. ended, if not nil, is called
// when the one session of the server is over.
func NewServer(p Plugin, log hclog.Logger, ended func()) (wire.PluginServer, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if ended == nil {
		ended = func() {}
	}
	return &server{plugin: &p, log: log, ended: ended, opened: make(chan struct{})}, nil
}

// server is one process's life: Describe, one Session, one Configure.
type server struct {
	wire.UnimplementedPluginServer
	plugin *Plugin
	log    hclog.Logger
	ended  func()

	mu         sync.Mutex // guards session and configured
	session    *session
	configured bool
	opened     chan struct{} // closed when session is set
}

// Describe tells what the plugin is.
func (s *server) Describe(context.Context, *wire.DescribeRequest) (*wire.Manifest, error) {
	return s.plugin.manifest(), nil
}

// Session is the plugin's life with its host.
func (s *server) Session(rpc wire.Plugin_SessionServer) error {
	s.mu.Lock()
	if s.session != nil {
		s.mu.Unlock()
		return wire.Status(fmt.Errorf("%w: this process has had its session", wire.ErrPrecondition))
	}
	s.session = newSession(s.plugin, s.log, wire.NewStream(rpc))
	s.mu.Unlock()
	close(s.opened)
	defer s.ended()
	return wire.Status(s.session.serve(rpc.Context()))
}

// Configure decodes the config and runs Start; its errors are the reply's.
func (s *server) Configure(ctx context.Context, r *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	select {
	case <-s.opened:
	case <-ctx.Done():
		return nil, wire.Status(fmt.Errorf("%w: configured before the session was open", wire.ErrPrecondition))
	}
	s.mu.Lock()
	again := s.configured
	s.configured = true
	s.mu.Unlock()
	if again {
		return nil, wire.Status(fmt.Errorf("%w: this process has been configured", wire.ErrPrecondition))
	}
	setLevel(s.log, r.LogLevel)
	if err := s.start(ctx, r); err != nil {
		return &wire.ConfigureReply{Error: fmt.Sprintf("plugin %s: %v", s.plugin.Name, err)}, nil
	}
	close(s.session.started)
	return &wire.ConfigureReply{}, nil
}

func (s *server) start(ctx context.Context, r *wire.ConfigureRequest) error {
	if err := decodeConfig(r.Config, s.plugin.Config); err != nil {
		return err
	}
	s.session.host.sessions.Store(&r.Sessions)
	if s.plugin.Start == nil {
		return nil
	}
	if err := safely(func() error { return s.plugin.Start(ctx, s.session.host) }); err != nil {
		return errors.Join(fmt.Errorf("start: %w", err), ctx.Err())
	}
	return nil
}

func setLevel(log hclog.Logger, level string) {
	if l := hclog.LevelFromString(level); l != hclog.NoLevel {
		log.SetLevel(l)
	}
}
