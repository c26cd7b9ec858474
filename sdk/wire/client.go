package wire

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
)

// Client is the host's view of one plugin process. Its methods may be called
// from any goroutine.
type Client struct{ rpc PluginClient }

// NewClient wraps a connection to a plugin; go-plugin's Dispense does it.
func NewClient(conn grpc.ClientConnInterface) *Client { return &Client{rpc: NewPluginClient(conn)} }

// Describe asks the plugin what it is. It has no side effects there.
func (c *Client) Describe(ctx context.Context, r *DescribeRequest) (*Manifest, error) {
	m, err := c.rpc.Describe(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", fromStatus(err))
	}
	return m, nil
}

// Configure hands over the config and runs the plugin's Start; call it once,
// after Open. An error that is ErrInvalid is the plugin's refusal, in its words.
func (c *Client) Configure(ctx context.Context, r *ConfigureRequest) error {
	reply, err := c.rpc.Configure(ctx, r)
	if err != nil {
		return fmt.Errorf("configure: %w", fromStatus(err))
	}
	if reply.Error != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, reply.Error)
	}
	return nil
}

// Open starts the one session of the process. The session lives until Close,
// the plugin's end of it, or the end of ctx, which cuts it: pass a context
// that lives as long as the plugin may.
func (c *Client) Open(ctx context.Context, h SessionHandler) (*Session, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stream, err := c.rpc.Session(ctx)
	if err != nil {
		cancel(err)
		return nil, fmt.Errorf("open session: %w", fromStatus(err))
	}
	s := newSession(stream, h)
	s.tasks.Go(func() { s.read(ctx, cancel) })
	s.tasks.Go(func() { s.write(ctx, cancel) })
	return s, nil
}

// errEnded is the cause of a session's ctx when the plugin ended it in order.
var errEnded = errors.New("session has ended")
