package sdk

import (
	"context"
	"math/rand/v2"
	"time"

	"balhost/sdk/wire"
)

// keepRunning runs Plugin.Run once the host allows it, and again when it fails,
// until ctx ends; the host hears of each failure. The process itself goes on: its handlers have done nothing wrong.
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
	failures := uint32(0) // in a row
	for delay := least; ; delay = min(2*delay, most) {
		began := time.Now()
		err := safely(func() error { return s.plugin.Run(ctx, s.host) })
		if ctx.Err() != nil || err == nil {
			return
		}
		if time.Since(began) > healthy {
			delay, failures = least, 0
		}
		failures++
		wait := delay/2 + rand.N(delay/2)
		s.stream.Send(&wire.PluginFrame{RunFailure: &wire.RunFailure{Failures: failures, Error: err.Error(), WaitMs: wait.Milliseconds()}})
		s.log.Error("run failed, starts again", "err", err, "after", wait)
		if pause(ctx, wait) != nil {
			return
		}
	}
}
