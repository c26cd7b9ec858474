package wire

import (
	"context"
	"math"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Handshake is what host and plugin must agree on before anything else. The
// cookie is no secret: it tells a plugin that a host started it, not a person.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  Version,
	MagicCookieKey:   "BALHOST_PLUGIN",
	MagicCookieValue: "5b1f0c2e8a6d4937b0c4d2f1e6a97358",
}

const (
	// Version is go-plugin's application protocol version. It changes only when
	// an older peer could not go on; all else is an added field or a capability.
	Version = 2
	// Name is what the host dispenses: raw, err := rpc.Dispense(wire.Name), a *Client.
	Name = "balhost"

	// MaxFrame is the largest frame of a plugin that the host reads, in bytes. A Tx is at
	// most 1 MiB, and the session of a plugin that sends more than this at once ends (P10).
	MaxFrame = 8 << 20
	// maxFromHost: a plugin reads whatever its host sends; the host sees to the size.
	maxFromHost = math.MaxInt32

	window = 4 << 20   // HTTP/2 flow control, each way
	buffer = 128 << 10 // of one read and one write
)

// Plugins are the plugin sets of both sides by version, for go-plugin's
// VersionedPlugins. The host passes nil, a plugin its server.
func Plugins(server PluginServer) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{Version: {Name: &grpcPlugin{server: server}}}
}

// grpcPlugin ties the service to go-plugin, whose broker goes unused so that a
// plugin in any language needs gRPC and little else.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server PluginServer
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	Register(s, p.server)
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}

// NewServer makes a plugin's gRPC server, for go-plugin's ServeConfig.GRPCServer.
func NewServer(opts []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(opts,
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxFromHost), // gRPC's own limit is 4 MiB
		grpc.MaxSendMsgSize(MaxFrame),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.ReadBufferSize(buffer),
		grpc.WriteBufferSize(buffer),
		// gRPC's own pings, every two hours without it, take a clock that was set
		// back for a dead peer; the host's are in the stream.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: math.MaxInt64}),
	)...)
}

// DialOptions are the host's, for go-plugin's ClientConfig.GRPCDialOptions.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		// WithDefaultCallOptions comes after go-plugin's own 2 GiB and wins.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxFrame), grpc.MaxCallSendMsgSize(maxFromHost), grpc.ForceCodecV2(newCodec())),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		grpc.WithReadBufferSize(buffer),
		grpc.WithWriteBufferSize(buffer),
	}
}
