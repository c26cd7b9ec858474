package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// monotonic is the time of CLOCK_MONOTONIC as systemd wants it beside RELOADING=1.
func monotonic() string {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return ""
	}
	return fmt.Sprintf("\nMONOTONIC_USEC=%d", now.Nano()/1000)
}
