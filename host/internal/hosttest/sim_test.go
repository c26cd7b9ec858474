package hosttest

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate this seed alone, and tell what happens")
	simFrom  = flag.Uint64("sim.from", 1, "the first seed")
	simSeeds = flag.Int("sim.seeds", 0, "how many seeds; 0 is 300, or 40 with -short")
)

// stuck is how long one seed may take, in real time; it needs a fifth of a second.
const stuck = 3 * time.Minute

// mostMemory is what all seeds under way may hold; they need a hundredth of it.
const mostMemory = 4 << 30

// enough failed seeds: the others are not run any more.
const enough = 5

// TestSimulation runs a host through a random schedule of messages and faults
// for each seed, and checks P1 to P8 after every step and at the end: what CCS
// saw, what plugins were handed, and what the ledger holds must fit together.
func TestSimulation(t *testing.T) { // P1 P2 P3 P4 P5 P6 P7 P8
	seeds := *simSeeds
	if seeds == 0 {
		if seeds = 300; testing.Short() {
			seeds = 40
		}
	}
	if *simSeed != 0 {
		simulate(t, *simSeed, true)
		return
	}
	var started, done, failed atomic.Int64
	defer progress(seeds, &done)()
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) { // not t.Parallel in each: seeds go in their order
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for {
					seed := *simFrom + uint64(started.Add(1)-1)
					if seed >= *simFrom+uint64(seeds) || failed.Load() >= enough {
						return
					}
					if !t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, seed, false) }) {
						failed.Add(1)
					}
					done.Add(1)
				}
			})
		}
	})
}

// progress tells how far a long run is, until what it returns is called. It
// ends the process when that runs out of bounds: a loop that allocates takes
// the whole machine along.
func progress(seeds int, done *atomic.Int64) (end func()) {
	start, stop, ended := time.Now(), make(chan struct{}), make(chan struct{})
	say := func() {
		took := time.Since(start)
		fmt.Fprintf(os.Stderr, "%d of %d seeds in %s, %.1f/s\n", done.Load(), seeds, took.Round(time.Second), float64(done.Load())/took.Seconds())
	}
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			if metrics.Read(heap); heap[0].Value.Uint64() > mostMemory {
				panic("the simulation needs too much memory; which seed it is, the goroutines tell")
			}
			if seconds%10 == 0 {
				say()
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
		if seeds >= 1000 || testing.Verbose() {
			say()
			fmt.Fprintln(os.Stderr, seen)
		}
	}
}

// totals say what all seeds together went through, so that a fault that never
// happens is noticed.
type totals struct {
	mu     sync.Mutex
	counts map[string]uint64
}

var seen = &totals{counts: map[string]uint64{}}

func (t *totals) add(name string, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[name] += n
}

func (t *totals) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		all = append(all, fmt.Sprintf("%s %d", name, t.counts[name]))
	}
	return strings.Join(all, ", ")
}

// simulate runs one seed in a bubble of its own.
func simulate(t *testing.T, seed uint64, tell bool) {
	defer func() {
		if t.Failed() {
			t.Logf("run it again, with all that happens:\n\tgo test ./host/internal/hosttest -run TestSimulation -sim.seed %d -v", seed)
		}
	}()
	// Goroutines that keep each other busy hold the bubble's clock for ever.
	watchdog := time.AfterFunc(stuck, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("seed %d has not ended after %s", seed, stuck))
	})
	defer watchdog.Stop()
	root := t.TempDir()
	label := pprof.Labels("sim.seed", fmt.Sprint(seed)) // the trace of a panic shows it; see TestMain
	pprof.Do(context.Background(), label, func(context.Context) {
		synctest.Test(t, func(t *testing.T) { newWorld(t, seed, root, tell).run() })
	})
}
