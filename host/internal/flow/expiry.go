package flow

import "time"

// Expired reports whether a downstream's time is over; without expires it never is.
// TTLs are whole seconds, and the last second passes first: a TTL of 0, "now or
// never", leaves one second to send the downstream.
func Expired(now, expires time.Time) bool {
	return !expires.IsZero() && now.Sub(expires) >= time.Second
}

// Remaining is the TTL to send at this moment, in whole seconds rounded down;
// nil for a zero expires.
func Remaining(now, expires time.Time) *time.Duration {
	if expires.IsZero() {
		return nil
	}
	d := max(0, expires.Sub(now)).Truncate(time.Second)
	return &d
}
