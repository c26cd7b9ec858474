package wire

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Metrics is the capability of a plugin that has metrics of its own: it serves the call
// [MetricsCall].
const Metrics = "metrics"

// MetricsCall asks for them. It takes a google.protobuf.Empty, and its answer is a
// google.protobuf.BytesValue with Prometheus's text format. It is no part of the service
// in plugin.proto, so a plugin without metrics knows nothing of it.
const MetricsCall = "/balhost.plugin.v1.Metrics/Text"

// MaxMetrics limits the answer, in bytes.
const MaxMetrics = 1 << 20

// A MetricsServer is a [PluginServer] that has metrics.
type MetricsServer interface {
	Metrics(ctx context.Context) ([]byte, error)
}

// Register registers a plugin's service, and that of its metrics if it has them.
func Register(s grpc.ServiceRegistrar, p PluginServer) {
	RegisterPluginServer(s, p)
	if _, has := p.(MetricsServer); has {
		s.RegisterService(&metricsService, p)
	}
}

var metricsService = grpc.ServiceDesc{
	ServiceName: "balhost.plugin.v1.Metrics",
	HandlerType: (*MetricsServer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Text", Handler: func(p any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := read(new(emptypb.Empty)); err != nil {
			return nil, err
		}
		text, err := p.(MetricsServer).Metrics(ctx)
		if err != nil {
			return nil, Status(err)
		}
		return wrapperspb.Bytes(text), nil
	}}},
}

// Metrics asks the plugin for its metrics, in Prometheus's text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	answer := new(wrapperspb.BytesValue)
	const frame = 16 // of the answer, around the text
	if err := c.conn.Invoke(ctx, MetricsCall, new(emptypb.Empty), answer, grpc.MaxCallRecvMsgSize(MaxMetrics+frame)); err != nil {
		return nil, fmt.Errorf("metrics: %w", fromStatus(err))
	}
	return answer.GetValue(), nil
}
