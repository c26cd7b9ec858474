package daemon

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
)

// A container that may have little gives the Go runtime a third of it, and two thirds at most.
func TestMemoryFor(t *testing.T) {
	for text, want := range map[string]memoryLimit{
		"max\n":                 {softMemory, math.MaxInt64},
		"odd":                   {softMemory, math.MaxInt64},
		"9223372036854771712\n": {softMemory, 9223372036854771712 / 3 * 2},
		"268435456\n":           {268435456 / 3, 268435456 / 3 * 2},
		"67108864\n":            {leastMemory, leastMemory},
	} {
		name := filepath.Join(t.TempDir(), "limit")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := memoryFor([]string{name + ".none", name}); got != want {
			t.Errorf("%q: %d, should be %d", text, got, want)
		}
	}
	if got := memoryFor(nil); got != (memoryLimit{softMemory, math.MaxInt64}) {
		t.Errorf("no file: %d", got)
	}
}

func TestMemoryLimitFits(t *testing.T) {
	const mib = 1 << 20
	limit := memoryLimit{120 * mib, 400 * mib}
	for _, c := range []struct{ live, beside, want int64 }{
		{40 * mib, 20 * mib, 120 * mib},
		{80 * mib, 40 * mib, 180 * mib}, // 1,000 sockets at full speed
		{250 * mib, 20 * mib, 395 * mib},
		{300 * mib, 20 * mib, 400 * mib},
	} {
		if got := limit.fitting(c.live, c.beside); got != c.want {
			t.Errorf("%d MiB live, %d MiB beside: %d MiB, should be %d", c.live/mib, c.beside/mib, got/mib, c.want/mib)
		}
	}
}

// Live memory always leaves room for garbage: a collector that finds none to free never
// rests (P10). When it is free again, the limit comes back.
func TestMemoryLimitFollowsWhatIsLive(t *testing.T) {
	before := debug.SetMemoryLimit(softMemory)
	defer debug.SetMemoryLimit(before)
	limit := memoryLimit{softMemory, math.MaxInt64}
	held := make([][]byte, 200)
	for i := range held {
		held[i] = make([]byte, 1<<20)
	}
	runtime.GC()
	limit.set()
	if got := debug.SetMemoryLimit(-1); got < 300<<20 {
		t.Errorf("with 200 MiB live the limit is %d MiB", got>>20)
	}
	runtime.KeepAlive(held)
	held = nil
	runtime.GC()
	limit.set()
	if got := debug.SetMemoryLimit(-1); got != softMemory {
		t.Errorf("afterwards it is %d MiB", got>>20)
	}
}
