package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/ccstest"
)

// BenchmarkReload replaces a plugin twenty times under load, with real
// processes. A lane is a device. Its next upstream is due when the host has
// begun to store it and the plugin has handled the one before it; from then
// until the handler has it, the lane waits. In that time both are committed to
// disk and go over the wire, so a lane always waits a little, and longer when
// the disk or the machine stalls. What a replacement adds stands beside what
// lanes wait for between the replacements, in the same run.
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
		sim.post(b, "/devices", ccstest.Devices{Count: devices, Rate: rate, Category: "com.example.bench", Size: 300})
		time.Sleep(3 * time.Second) // warm
		var moved []time.Time
		for n := range reloads {
			before := host.plugin(b)
			moved = append(moved, time.Now())
			if err := os.Rename(next(n), path); err != nil {
				b.Fatal(err)
			}
			poll(b, "the new one serves", func() bool { pid := host.plugin(b); return pid != 0 && pid != before })
			time.Sleep(1500 * time.Millisecond)
		}
		sim.delete(b, "/devices")
		poll(b, "the plugin has handled everything", func() bool { return host.status(b).Ledger.Events == 0 })
		host.stop(b)
		sim.stop(b)

		book := readLaps(b, filepath.Join(dir, "data", "plugins", "laps", "work"))
		r := book.judge(b, moved)
		fmt.Printf("\nreload under load: %d reloads, %d lanes, %d messages/s asked for\n", reloads, devices, rate)
		fmt.Printf("  how long a lane waits for the handler of what is due in it:\n")
		fmt.Printf("    between replacements            %s\n", r.between)
		fmt.Printf("    while the plugin is replaced    %s\n", r.during)
		fmt.Printf("    a lane's first in the new one   %s\n", r.first)
		fmt.Printf("  longest pause of a lane by a replacement: %.1f ms, %.2f of the longest between them\n", ms(r.pause()), r.pause().Seconds()/r.between.max().Seconds())
		fmt.Printf("  messages/s: %.0f between replacements, %.0f during, %.0f in the slowest one; handled more than once: %d\n", r.between.rate(), r.during.rate(), r.slowest, book.again)
		fmt.Printf("  from mv to the new one's first message: %s (200 ms of them the file has to be still)\n\n", r.took)
		b.ReportMetric(ms(r.pause()), "pause-ms")
		b.ReportMetric(ms(r.between.max()), "no-reload-ms")
		b.ReportMetric(float64(book.again), "redelivered")
		b.ReportMetric(ms(r.took.at(0.5)), "mv-to-serving-ms")
	}
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

// pause is the longest wait that a replacement can have to do with.
func (v verdict) pause() time.Duration { return max(v.during.max(), v.first.max()) }

// judge sorts the waits by what went on when they ended. A replacement lasts from the mv until
// settled after the new process's first message: then the old one has ended.
func (l laps) judge(b *testing.B, moved []time.Time) (v verdict) {
	b.Helper()
	const settled = 500 * time.Millisecond
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
