package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
)

// BenchmarkReload replaces a plugin twenty times under load, with real
// processes, and prints how long lanes wait, while that happens and between it
// in the same run. A lane is a device. It is looked at twice.
//
// By the plugin's book: an upstream is due when the host begins to store it and
// the one before it has reached its handler; from then until its own handler has
// it, the lane waits. In that time both are committed, so the disk is in it.
//
// By the host's metrics: from when an event is on disk and its lane is free until
// it is handed to a process, and from then until its result is back.
//
// What a replacement makes a lane wait is in its first message in the new process;
// what the start of that process costs all lanes, in those while it is replaced.
func BenchmarkReload(b *testing.B) {
	const devices, rate, reloads = 100, 10_000, 20
	bin := buildBench(b)
	path := filepath.Join(bin, "plugins", "laps")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/laps").CombinedOutput(); err != nil {
		b.Fatalf("build laps: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(bin, "plugins", "ackonly")); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		dir, next := b.TempDir(), versions(b, path, reloads)
		sim := startSim(b, bin, dir)
		host := startHost(b, bin, dir, sim)
		sim.post(b, "/devices", ccssim.Devices{Count: devices, Rate: rate, Category: "com.example.bench", Size: 300})
		time.Sleep(3 * time.Second) // warm
		var moved []time.Time
		var between, during hostWaits
		last := host.waits(b)
		for n := range reloads {
			before, begun := host.plugin(b), host.waits(b)
			between.add(last, begun)
			moved = append(moved, time.Now())
			if err := os.Rename(next(n), path); err != nil {
				b.Fatal(err)
			}
			poll(b, "the new one serves", func() bool { pid := host.plugin(b); return pid != 0 && pid != before })
			time.Sleep(settled)
			last = host.waits(b)
			during.add(begun, last)
			time.Sleep(time.Second)
		}
		sim.delete(b, "/devices")
		poll(b, "the plugin has handled everything", func() bool { return host.status(b).Ledger.Events == 0 })
		host.stop(b)
		sim.stop(b)

		book := readLaps(b, filepath.Join(dir, "data", "plugins", "laps", "work"))
		r := book.judge(b, moved)
		fmt.Printf("\nreload under load: %d reloads, %d lanes, %d messages/s asked for\n", reloads, devices, rate)
		fmt.Printf("  reached: %.0f messages/s between replacements, %.0f while the plugin is replaced, %.0f in the slowest of them; handled more than once: %d\n", r.between.rate(), r.during.rate(), r.slowest, book.again)
		fmt.Printf("  a lane waits for its handler, commits included:\n")
		fmt.Printf("    between replacements            %s\n", r.between)
		fmt.Printf("    while the plugin is replaced    %s\n", r.during)
		fmt.Printf("    a lane's first in the new one   %s\n", r.first)
		fmt.Printf("  of that, on disk and its lane free, to handed out; and then to the result:\n")
		fmt.Printf("    between replacements            %s; %s\n", between.wait, between.handling)
		fmt.Printf("    while the plugin is replaced    %s; %s\n", during.wait, during.handling)
		fmt.Printf("  longest pause: %.1f ms where a lane changes hands, %.1f ms anywhere while the plugin is replaced, %.1f ms without a replacement; p99 %.2f times that without\n",
			ms(r.first.max()), ms(r.during.max()), ms(r.between.max()), r.during.at(0.99).Seconds()/r.between.at(0.99).Seconds())
		fmt.Printf("  from mv to the new one's first message: %s (200 ms of them the file has to be still)\n\n", r.took)
		b.ReportMetric(ms(r.first.max()), "pause-ms")
		b.ReportMetric(ms(r.during.max()), "longest-ms")
		b.ReportMetric(ms(r.between.max()), "without-reload-ms")
		b.ReportMetric(float64(book.again), "redelivered")
		b.ReportMetric(ms(r.took.at(0.5)), "mv-to-serving-ms")
	}
}

// settled is when the old process has ended, after the new one's first message.
const settled = 500 * time.Millisecond

// bucket counts what is under its limit and over the one before.
type bucket struct {
	under time.Duration
	count int
}

// buckets are a histogram.
type buckets []bucket

// hostWaits are what the host's metrics say of lanes.
type hostWaits struct{ wait, handling buckets }

func (w *hostWaits) add(from, to hostWaits) {
	w.wait, w.handling = w.wait.plus(from.wait, to.wait), w.handling.plus(from.handling, to.handling)
}

// plus adds what came between two readings.
func (h buckets) plus(from, to buckets) buckets {
	if h == nil {
		h = make(buckets, len(to))
	}
	for i := range to {
		h[i].under = to[i].under
		h[i].count += to[i].count - from[i].count
	}
	return h
}

// at is the limit of the bucket that a quantile is in.
func (h buckets) at(q float64) time.Duration {
	total := 0
	for _, one := range h {
		total += one.count
	}
	rank := int(q * float64(total-1))
	for _, one := range h {
		if rank -= one.count; rank < 0 {
			return one.under
		}
	}
	return 0
}

func (h buckets) String() string {
	return fmt.Sprintf("p50 under %.1f ms, p99 under %.1f, longest under %.1f", ms(h.at(0.5)), ms(h.at(0.99)), ms(h.at(1)))
}

// waits reads the host's metrics.
func (h *hostProcess) waits(b *testing.B) hostWaits {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "curl", "-s", "--fail", "--unix-socket", h.admin, "http://localhost/metrics").Output()
	if err != nil {
		b.Fatalf("metrics: %v", err)
	}
	read := func(name string) (all buckets) {
		before := 0
		for _, m := range regexp.MustCompile(name+`_bucket{plugin="laps",le="(.+)"} (\d+)`).FindAllSubmatch(out, -1) {
			limit, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				b.Fatal(err)
			}
			count, err := strconv.Atoi(string(m[2]))
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, bucket{time.Duration(min(limit, 3600) * float64(time.Second)), count - before})
			before = count
		}
		return all
	}
	return hostWaits{read("balhost_dispatch_wait_seconds"), read("balhost_dispatch_handling_seconds")}
}

// versions makes files of new contents beside path, on disk before any load is,
// and gives the name of the n-th.
func versions(b *testing.B, path string, count int) func(n int) string {
	b.Helper()
	program, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	name := func(n int) string { return filepath.Join(filepath.Dir(path), fmt.Sprintf(".laps-%d", n)) }
	for n := range count {
		if err := os.WriteFile(name(n), slices.Concat(program, []byte(strconv.Itoa(n))), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	syscall.Sync()
	return name
}

// lap is one handling.
type lap struct {
	process    int // which one it was
	n          int // the device's counter
	stored, at time.Time
}

// laps are the handlings of each device, in order.
type laps struct {
	of    map[string][]lap
	again int // handlings of what was handled before
}

// readLaps reads the processes' books, and sees that nothing is missing in them.
func readLaps(b *testing.B, dir string) laps {
	b.Helper()
	l := laps{of: map[string][]lap{}}
	books, _ := filepath.Glob(filepath.Join(dir, "laps-*"))
	for process, name := range books {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var (
				device     string
				n          int
				stored, at int64
			)
			if _, err := fmt.Sscan(lines.Text(), &device, &n, &stored, &at); err != nil {
				b.Fatalf("%s: %q: %v", name, lines.Text(), err)
			}
			l.of[device] = append(l.of[device], lap{process, n, time.Unix(0, stored), time.Unix(0, at)})
		}
	}
	for device, all := range l.of {
		slices.SortFunc(all, func(a, b lap) int { return a.at.Compare(b.at) })
		newest := 0
		for _, one := range all {
			switch {
			case one.n <= newest:
				l.again++
			case one.n != newest+1:
				b.Fatalf("%s: %d follows on %d", device, one.n, newest)
			}
			newest = max(newest, one.n)
		}
	}
	return l
}

// waits are how long lanes waited, over a time of span. Sorted when they are read.
type waits struct {
	each []time.Duration
	span time.Duration
}

// at is a quantile.
func (w waits) at(q float64) time.Duration { return w.each[int(q*float64(len(w.each)-1))] }
func (w waits) max() time.Duration         { return w.at(1) }
func (w waits) rate() float64              { return float64(len(w.each)) / w.span.Seconds() }

func (w waits) String() string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, longest %.1f ms (%d)", ms(w.at(0.5)), ms(w.at(0.99)), ms(w.max()), len(w.each))
}

// verdict is what a book says of replacements.
type verdict struct {
	between, during waits
	first           waits   // of each lane's first message in a new process
	took            waits   // from each mv to the new process's first message
	slowest         float64 // messages/s during one replacement
}

// judge sorts the waits by what went on when they ended. A replacement lasts from
// the mv until settled after the new process's first message.
func (l laps) judge(b *testing.B, moved []time.Time) (v verdict) {
	b.Helper()
	served := make([]time.Time, len(moved)) // by whoever began first after each mv
	begins := map[int]time.Time{}           // when each process began
	for _, all := range l.of {
		for _, one := range all {
			if at, ok := begins[one.process]; !ok || one.at.Before(at) {
				begins[one.process] = one.at
			}
		}
	}
	for n, mv := range moved {
		for _, at := range begins {
			if at.After(mv) && (served[n].IsZero() || at.Before(served[n])) {
				served[n] = at
			}
		}
		v.took.each = append(v.took.each, served[n].Sub(mv))
		v.during.span += served[n].Add(settled).Sub(mv)
		if n > 0 {
			v.between.span += mv.Sub(served[n-1].Add(settled))
		}
	}
	counts := make([]int, len(moved))
	for _, all := range l.of {
		for i, one := range all[1:] {
			before := all[i]
			due := one.stored
			if before.at.After(due) {
				due = before.at
			}
			wait := one.at.Sub(due)
			n, _ := slices.BinarySearchFunc(moved, one.at, time.Time.Compare) // so many replacements had begun
			switch n--; {
			case n < 0:
				continue
			case one.at.Before(served[n].Add(settled)):
				v.during.each = append(v.during.each, wait)
				counts[n]++
			case n < len(moved)-1:
				v.between.each = append(v.between.each, wait)
			}
			if one.process != before.process {
				v.first.each = append(v.first.each, wait)
			}
		}
	}
	v.slowest = float64(counts[0])
	for n, count := range counts {
		v.slowest = min(v.slowest, float64(count)/served[n].Add(settled).Sub(moved[n]).Seconds())
	}
	for _, w := range []waits{v.between, v.during, v.first, v.took} {
		slices.Sort(w.each)
	}
	return v
}
