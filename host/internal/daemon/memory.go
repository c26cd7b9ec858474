package daemon

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// softMemory is the memory limit of the Go runtime, in bytes. At full speed up to 100 MiB
// are in use, mostly badger's table builders. With a much lower limit the garbage collector
// never rests. Without a limit there is as much garbage as memory in use.
const softMemory = 120 << 20

// leastMemory is the lowest limit: with less, the collector would use all the time.
const leastMemory = 64 << 20

// limitMemory sets the limit, unless the operator has set GOMEMLIMIT. In a small
// container the limit is a third of the container's: the container also counts the
// ledger's files, which are mapped.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryFor(containers))
	}
}

// containers are the files that hold a container's limit, for cgroups version 2 and 1.
var containers = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// memoryFor is the limit when one of these files holds the container's limit.
func memoryFor(files []string) int64 {
	if most := containerMemory(files); most > 0 {
		return max(leastMemory, min(softMemory, most/3))
	}
	return softMemory
}

// ContainerMemory is what this process' container may use, in bytes; 0: there is no limit.
func ContainerMemory() int64 { return containerMemory(containers) }

func containerMemory(files []string) int64 {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // else "max"
			return most
		}
	}
	return 0
}
