package wire

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
)

// Client is the host's view of one plugin process. Its methods may be called
// from any goroutine.
type Client struct {
	rpc  PluginClient
	conn grpc.ClientConnInterface
}

// NewClient wraps a connection to a plugin; go-plugin's Dispense does it.
func NewClient(conn grpc.ClientConnInterface) *Client { return &Client{NewPluginClient(conn), conn} }

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

// Open opens the one stream of the process; HostStream.Run carries its frames. The
// end of ctx cuts it, so ctx must live as long as the plugin.
func (c *Client) Open(ctx context.Context) (*HostStream, error) {
	ctx, cut := context.WithCancelCause(ctx)
	rpc, err := c.rpc.Session(ctx)
	if err != nil {
		cut(err)
		return nil, fmt.Errorf("open session: %w", fromStatus(err))
	}
	return &HostStream{
		rpc: rpc, cut: cut, out: newQueue(mergeHost, cutHost, weighHost),
		done: make(chan struct{}), pings: map[uint64]chan<- struct{}{},
	}, nil
}
