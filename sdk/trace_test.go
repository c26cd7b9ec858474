package sdk_test

import (
	"context"
	"testing"

	"balhost/sdk"
	"balhost/sdk/wire"

	"go.opentelemetry.io/otel/trace"
)

// A handler's ctx has the span that the host names, and what it sends outside of its Tx says
// below which span it is.
func TestTrace(t *testing.T) {
	const (
		sampled   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	)
	for _, c := range []struct{ told, is, said string }{
		{sampled, "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7", sampled},
		{unsampled, "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7", unsampled},
		{"", "00000000000000000000000000000000 0000000000000000", ""},
		{"00-nonsense", "00000000000000000000000000000000 0000000000000000", ""},
	} {
		var host *sdk.Host
		is := make(chan trace.SpanContext, 1)
		p := with(func(ctx context.Context, _ *sdk.Tx, _ sdk.Upstream) error {
			is <- trace.SpanContextFromContext(ctx)
			if _, err := host.Send(ctx, news); err != nil {
				return err
			}
			return host.Update(ctx, func(tx *sdk.Tx) error { _, err := tx.Send(news); return err })
		})
		p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
		l := dial(t, p, quiet)
		l.session.Send(&wire.HostFrame{Deliver: []*wire.Delivery{{
			Delivery: 1, Attempt: 1, TimeoutMs: 60_000, Traceparent: c.told, Event: &wire.Delivery_Upstream{Upstream: &wire.Upstream{Id: "e1"}},
		}}})
		if got := <-is; got.TraceID().String()+" "+got.SpanID().String() != c.is || got.IsSampled() != (c.told == sampled) {
			t.Errorf("told %q, the handler has %v", c.told, got)
		}
		for _, sent := range []func(*wire.Call) *wire.Downstream{
			func(c *wire.Call) *wire.Downstream { return c.GetSend() },
			func(c *wire.Call) *wire.Downstream { return c.GetUpdate().GetSend()[0] },
		} {
			call := l.until(func(f *wire.PluginFrame) bool { return len(f.Call) == 1 }).Call[0]
			if got := sent(call).GetTraceparent(); got != c.said {
				t.Errorf("told %q, the plugin said %q", c.told, got)
			}
			l.session.Send(&wire.HostFrame{Reply: []*wire.Reply{{Id: call.Id}}})
		}
		l.until(func(f *wire.PluginFrame) bool { return len(f.Done) == 1 })
	}
}
