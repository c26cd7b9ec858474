package ledger

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var bootID = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "": unknown
	return strings.TrimSpace(string(id))
})

// Uptime gives the kernel's boot id and how long the kernel has run, including sleep; ""
// when that isn't known. Nobody can set this clock.
func Uptime() (boot string, up time.Duration) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return "", 0
	}
	return bootID(), time.Duration(t.Nano())
}
