package sdk

import (
	"context"
	"math/rand/v2"
	"time"

	"balhost/sdk/wire"
)

// keepRunning runs Plugin.Run when the host allows it, and again after a failure,
// until ctx ends. It tells the host of each failure. The process and its handlers go
// on.
func (l *link) keepRunning(ctx context.Context) {
	if l.plugin.Run == nil {
		return
	}
	select {
	case <-l.run:
	case <-ctx.Done():
		return
	}
	const least, most, healthy = time.Second, time.Minute, 5 * time.Minute
	failures := uint32(0) // in a row
	for delay := least; ; delay = min(2*delay, most) {
		began := time.Now()
		err := safely(func() error { return l.plugin.Run(ctx, l.host) })
		if ctx.Err() != nil || err == nil {
			return
		}
		if time.Since(began) > healthy {
			delay, failures = least, 0
		}
		failures++
		wait := delay/2 + rand.N(delay/2)
		l.stream.Send(&wire.PluginFrame{RunFailure: &wire.RunFailure{Failures: failures, Error: err.Error(), WaitMs: wait.Milliseconds()}})
		l.log.Error("run failed, it is started again", "err", err, "after", wait)
		if pause(ctx, wait) != nil {
			return
		}
	}
}
