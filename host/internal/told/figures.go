package told

import (
	"fmt"
	"time"
)

// Ago is how long a moment is before now, in at most two units.
func Ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return Short(now.Sub(then))
}

// Short is a duration for a table: "850ms", "12s", "3m5s", "2h10m", "3d4h".
func Short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Millis is a number of milliseconds for a table: "0.35ms", "12ms", "3.4s"; "" for zero.
func Millis(ms float64) string {
	switch {
	case ms <= 0:
		return ""
	case ms < 1000:
		return fmt.Sprintf("%.3gms", ms)
	}
	return fmt.Sprintf("%.3gs", ms/1000)
}

// Size is a number of bytes for a person: "13.2 GiB".
func Size(n int64) string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for ; f >= step && unit < 5; unit++ {
		f /= step
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGTP"[unit])
}

// Count is a number with what it counts.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
