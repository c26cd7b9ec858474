package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"balhost/host/internal/ccstest"
)

// BenchmarkReload replaces a plugin ten times under load, with real processes.
// A lane is a device; its messages come in even steps, so a longer time between
// two handlings is a pause. What the machine itself delays, pauses too: the
// same without a reload stands beside it.
func BenchmarkReload(b *testing.B) {
	const devices, rate, reloads = 100, 10_000, 10
	bin, dir := buildBench(b), b.TempDir()
	path := filepath.Join(bin, "plugins", "laps")
	if out, err := exec.Command("go", "build", "-o", path, "./testdata/laps").CombinedOutput(); err != nil {
		b.Fatalf("build laps: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(bin, "plugins", "ackonly")); err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sim := startSim(b, bin, dir)
		host := startHost(b, bin, dir, sim)
		sim.post(b, "/devices", ccstest.Devices{Count: devices, Rate: rate, Category: "com.example.bench", Size: 300})
		time.Sleep(2 * time.Second) // warm
		quiet := time.Now()
		time.Sleep(5 * time.Second)
		began := time.Now()
		var serving []time.Duration
		for n := range reloads {
			tmp := filepath.Join(bin, "plugins", ".laps")
			if err := os.WriteFile(tmp, slices.Concat(program, []byte(strconv.Itoa(n))), 0o700); err != nil {
				b.Fatal(err)
			}
			before, moved := host.plugin(b), time.Now()
			if err := os.Rename(tmp, path); err != nil {
				b.Fatal(err)
			}
			poll(b, "the new one serves", func() bool { pid := host.plugin(b); return pid != 0 && pid != before })
			serving = append(serving, time.Since(moved))
			time.Sleep(time.Second)
		}
		ended := time.Now()
		sim.delete(b, "/devices")
		poll(b, "the plugin has handled everything", func() bool { return host.status(b).Ledger.Events == 0 })
		laps := readLaps(b, filepath.Join(dir, "data", "plugins", "laps", "work", "laps"))
		slices.Sort(serving)
		fmt.Printf("\nreload under load: %d reloads, %d lanes, %d messages/s asked for\n", reloads, devices, rate)
		without, still := laps.longest(quiet, began), laps.longest(began, ended)
		fmt.Printf("  %.0f messages/s handled\n", laps.rate(quiet, ended))
		fmt.Printf("  longest time between two handlings in a lane: %.1f ms with reloads, %.1f ms without (%.1f ms is a lane's pace)\n", ms(still), ms(without), 1000*float64(devices)/rate)
		fmt.Printf("  handled more than once: %d\n", laps.again)
		fmt.Printf("  from mv to serving: median %.0f ms, longest %.0f ms (200 ms of them the file has to be still)\n\n", ms(serving[len(serving)/2]), ms(serving[len(serving)-1]))
		b.ReportMetric(ms(still), "pause-ms")
		b.ReportMetric(float64(laps.again), "redelivered")
		b.ReportMetric(ms(serving[len(serving)/2]), "mv-to-serving-ms")
		host.stop(b)
		sim.stop(b)
	}
}

// laps are the handlings of each device, in order.
type laps struct {
	of    map[string][]time.Time
	again int // handlings of what was handled before
}

func readLaps(b *testing.B, name string) laps {
	b.Helper()
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	l, newest := laps{of: map[string][]time.Time{}}, map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var (
			pid, n int
			device string
			nanos  int64
		)
		if _, err := fmt.Sscan(lines.Text(), &pid, &device, &n, &nanos); err != nil {
			b.Fatalf("%q: %v", lines.Text(), err)
		}
		if n <= newest[device] {
			l.again++
		}
		newest[device] = max(newest[device], n)
		l.of[device] = append(l.of[device], time.Unix(0, nanos))
	}
	return l
}

// longest is the longest time between two handlings of one device.
func (l laps) longest(from, to time.Time) (most time.Duration) {
	for _, times := range l.of {
		for i := 1; i < len(times); i++ {
			if times[i-1].After(from) && times[i].Before(to) {
				most = max(most, times[i].Sub(times[i-1]))
			}
		}
	}
	return most
}

// rate is how many were handled in a second.
func (l laps) rate(from, to time.Time) float64 {
	n := 0
	for _, times := range l.of {
		for _, at := range times {
			if at.After(from) && at.Before(to) {
				n++
			}
		}
	}
	return float64(n) / to.Sub(from).Seconds()
}
