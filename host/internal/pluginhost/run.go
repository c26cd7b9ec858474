package pluginhost

import (
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/status"
	"balhost/sdk/wire"
)

// runCalm is how long a Run that has failed must go on until it counts as mended. It is
// the longest wait between two tries.
const runCalm = time.Minute

// failing reports whether Run has failed lately; nil: never.
func failing(f *status.RunFailure, now time.Time) bool {
	return f != nil && now.Before(f.Next.Add(runCalm))
}

// heardRun takes what a process says of its Run. It runs on the session's reading
// goroutine, and keeps the last only, however many come.
func (l *life) heardRun(f *wire.RunFailure) {
	now := time.Now()
	wait := time.Duration(min(max(f.GetWaitMs(), 0), time.Hour.Milliseconds())) * time.Millisecond
	l.failure.Store(&status.RunFailure{Failures: int(f.GetFailures()), Error: plain.Line(f.GetError(), 400), At: now, Next: now.Add(wait)})
	l.host.metrics.runs.WithLabelValues(l.name).Inc()
}
