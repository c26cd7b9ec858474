package daemon

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// softMemory is how much the Go runtime tries to stay under, in bytes. What lives
// is up to 100 MiB at full speed, most of it badger's table builders: with much less the
// collector never rests, and without a limit there lies as much garbage as there is that lives.
const softMemory = 120 << 20

// leastMemory is the least that is tried: with less the collector does nothing else.
const leastMemory = 64 << 20

// limitMemory sets the limit, unless the operator has set GOMEMLIMIT. In a
// container that may have little it is a third of that: the ledger's files, which are
// mapped, count there too.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryFor(containers))
	}
}

// containers are the files in which a container's limit stands, of cgroups of version 2 and 1.
var containers = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// memoryFor is the limit where one of these files says how much there may be.
func memoryFor(files []string) int64 {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // else "max"
			return max(leastMemory, min(softMemory, most/3))
		}
	}
	return softMemory
}
