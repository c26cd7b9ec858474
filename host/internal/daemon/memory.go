package daemon

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"
)

// softMemory is the memory limit of the Go runtime, in bytes, as long as little is live. At
// full speed up to 100 MiB are in use, mostly badger's table builders. Without a limit there
// is as much garbage as memory in use.
const softMemory = 120 << 20

// leastMemory is the lowest limit: with less, the collector would use all the time.
const leastMemory = 64 << 20

// memoryLimit is a limit that follows what is live. Many sockets, or very many downstreams
// that wait, are live memory. Under a limit that leaves them no garbage, the collector takes
// half of the CPU.
type memoryLimit struct {
	least, most int64 // in bytes
}

// limitMemory sets the limit, and lets it follow until stop is called, unless the operator
// has set GOMEMLIMIT.
func limitMemory() (stop func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	limit := memoryFor(containers)
	debug.SetMemoryLimit(limit.least)
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { limit.follow(ctx) })
	return func() {
		cancel()
		following.Wait()
	}
}

// follow sets the limit again every second until ctx ends.
func (l memoryLimit) follow(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.set()
		case <-ctx.Done():
			return
		}
	}
}

// set makes the limit fit what is in use now. A small change is not worth it: the runtime
// stops all goroutines for it.
func (l memoryLimit) set() {
	const worth = 16 // a sixteenth
	live, beside := memoryInUse()
	want, is := l.fitting(live, beside), debug.SetMemoryLimit(-1)
	if change := want - is; change > is/worth || change < -is/worth || change != 0 && want == l.least {
		debug.SetMemoryLimit(want)
	}
}

// fitting is the limit for a heap with so many bytes live, and so many that the runtime has
// beside its objects. Half as much garbage as is live may come before a collection, and never
// less than half of the least limit.
func (l memoryLimit) fitting(live, beside int64) int64 {
	garbage := max(live, l.least) / 2
	return max(l.least, min(live+garbage+beside, l.most))
}

// memoryInUse is what the last collection found live, and what counts beside objects: stacks,
// the runtime's own, and gaps between objects.
func memoryInUse() (live, beside int64) {
	read := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(read)
	size := func(i int) int64 { return int64(read[i].Value.Uint64()) } //nolint:gosec // no process has 8 EiB
	return size(0), size(1) - size(2) - size(3) - size(4)
}

// containers are the files that hold a container's limit, for cgroups version 2 and 1.
var containers = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// memoryFor is the limit when one of these files holds the container's limit. In a small
// container it begins at a third of that, because the container also counts the ledger's
// files, which are mapped. It never is more than two thirds of it.
func memoryFor(files []string) memoryLimit {
	all := containerMemory(files)
	if all == 0 {
		return memoryLimit{softMemory, math.MaxInt64}
	}
	least := max(leastMemory, min(softMemory, all/3))
	return memoryLimit{least, max(least, all/3*2)}
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
