package sdk

import (
	"context"
	"fmt"

	"balhost/sdk/wire"
)

// capabilities are what this SDK can do with this plugin.
func (s *server) capabilities() []string {
	if s.plugin.Metrics == nil {
		return []string{wire.Offsets}
	}
	return []string{wire.Offsets, wire.Metrics}
}

// Metrics has the plugin write its metrics.
func (s *server) Metrics(ctx context.Context) ([]byte, error) {
	if s.plugin.Metrics == nil {
		return nil, fmt.Errorf("%w: the plugin has no metrics", wire.ErrPrecondition)
	}
	if !s.measuring.TryLock() {
		return nil, fmt.Errorf("%w: the last call of Metrics has not returned yet", wire.ErrUnavailable)
	}
	defer s.measuring.Unlock()
	var text page
	if err := safely(func() error { return s.plugin.Metrics(ctx, &text) }); err != nil {
		return nil, err
	}
	return text.text, nil
}

// page is a text that does not grow beyond what the host takes.
type page struct{ text []byte }

func (p *page) Write(b []byte) (int, error) {
	if len(p.text)+len(b) > wire.MaxMetrics {
		return 0, fmt.Errorf("metrics have more than %d bytes", wire.MaxMetrics)
	}
	p.text = append(p.text, b...)
	return len(b), nil
}
