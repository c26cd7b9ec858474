package sdk

import (
	"context"
	"math/rand/v2"
	"time"
)

// keepRunning runs Plugin.Run once the host allows it, and again when it fails,
// until ctx ends. The process itself goes on: its handlers have done nothing wrong.
func (s *session) keepRunning(ctx context.Context) {
	if s.plugin.Run == nil {
		return
	}
	select {
	case <-s.run:
	case <-ctx.Done():
		return
	}
	const least, most, healthy = time.Second, time.Minute, 5 * time.Minute
	for delay := least; ; delay = min(2*delay, most) {
		began := time.Now()
		err := safely(func() error { return s.plugin.Run(ctx, s.host) })
		if ctx.Err() != nil || err == nil {
			return
		}
		if time.Since(began) > healthy {
			delay = least
		}
		wait := delay/2 + rand.N(delay/2)
		s.log.Error("run failed, starts again", "err", err, "after", wait)
		if pause(ctx, wait) != nil {
			return
		}
	}
}
