package ledger

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var bootID = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "": it is not known
	return strings.TrimSpace(string(id))
})

// Uptime names the kernel's life and says how long it has lasted, sleep
// included; "" when it isn't known. Nobody sets that clock.
func Uptime() (boot string, up time.Duration) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return "", 0
	}
	return bootID(), time.Duration(t.Nano())
}
