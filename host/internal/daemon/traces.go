package daemon

import (
	"context"
	"fmt"

	"balhost/host/internal/config"
	"balhost/host/internal/otlp"
)

// openTraces makes the tracer, if the config has a tracing block. The function that it
// returns exports what is left.
func (h *host) openTraces(ctx context.Context) (end func(), err error) {
	cfg := h.config()
	if cfg.Tracing == nil {
		return func() {}, nil
	}
	o, err := tracingOptions(*cfg.Tracing)
	if err != nil {
		return nil, err
	}
	o.Version, o.Log, o.Metrics = h.o.Version, h.o.Log.Named("tracing"), h.parts.host.metrics
	e, err := otlp.Open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	h.tracer = e.Tracer()
	h.o.Log.Info("messages are traced", "sample", cfg.Tracing.Sample, "to", otlp.Endpoint(cfg.Tracing.Endpoint))
	return e.Close, nil
}

// tracingOptions are what a tracing block means.
func tracingOptions(t config.Tracing) (otlp.Options, error) {
	roots, err := t.Roots()
	if err != nil {
		return otlp.Options{}, fmt.Errorf("tracing: read ca_file: %w", err)
	}
	return otlp.Options{Endpoint: t.Endpoint, Headers: t.Headers.Reveal(), Roots: roots, Sample: t.Sample}, nil
}

// CheckTracing asks the collector of traces once; nil without a tracing block.
func CheckTracing(ctx context.Context, cfg config.Config) error {
	if cfg.Tracing == nil {
		return nil
	}
	o, err := tracingOptions(*cfg.Tracing)
	if err == nil {
		err = otlp.Check(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("the collector of traces %s: %w", otlp.Endpoint(cfg.Tracing.Endpoint), err)
	}
	return nil
}
