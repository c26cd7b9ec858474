package daemon

import (
	"os"
	"runtime/debug"
)

// softMemory is how much the Go runtime tries to stay under, in bytes. What lives
// is about half of it at full speed; without a limit the collector lets as
// much garbage lie as there is that lives, and badger's builders come on top.
const softMemory = 80 << 20

// limitMemory sets it, unless the operator has set GOMEMLIMIT.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
}
