//go:build !linux

package ledger

import "time"

// Uptime is not known here. The ledger's clock counts by Go's monotonic clock, and
// between two starts by the wall clock.
func Uptime() (boot string, up time.Duration) { return "", 0 }
