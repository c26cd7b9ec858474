package sdk

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
)

// The host's traces reach handlers in their ctx, and the ctx of a call brings a plugin's own
// spans back to the host. Both ways it is OpenTelemetry's span context, which any
// instrumentation of a plugin finds there. The SDK makes no spans and exports none: a plugin
// that wants its own sets up OpenTelemetry's SDK in main.

const traceparent = "traceparent"

// traced is ctx with the span that the host names as the parent; "": none.
func traced(ctx context.Context, parent string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: parent})
}

// spanOf is the span of ctx as the host takes it; "": there is none.
func spanOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}
