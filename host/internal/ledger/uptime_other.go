//go:build !linux

package ledger

import "time"

// Uptime is not known here: the ledger's clock goes on by Go's monotonic one,
// and between two starts by the wall clock.
func Uptime() (boot string, up time.Duration) { return "", 0 }
