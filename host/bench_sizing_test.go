package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/latency"
)

// sizes are the loads of BenchmarkSizing, in upstreams a second.
var sizes = []int{20, 400, 3_000, 30_000}

// BenchmarkSizing measures what a host needs for a load: CPU, memory, bytes written and
// syncs, by CCS and by a gateway, with a plugin that does nothing and with one that answers
// each message. It prints the table of examples/deploy/README.md. Each row has a host of its
// own. SIZING_SECONDS is how long a load is measured; five seconds go before. BENCH_DIR
// names another disk.
func BenchmarkSizing(b *testing.B) {
	if os.Getenv("SIZING_SECONDS") == "" {
		b.Skip("SIZING_SECONDS is not set; see make sizing")
	}
	seconds, err := strconv.Atoi(os.Getenv("SIZING_SECONDS"))
	if err != nil || seconds < 1 {
		b.Fatalf("SIZING_SECONDS=%q: want a number from 1 on", os.Getenv("SIZING_SECONDS"))
	}
	lasts := time.Duration(seconds) * time.Second
	for b.Loop() {
		dir := benchDir(b)
		fmt.Printf("\n%s; %d cores; %.0f fsyncs/s of 4 KiB on this disk; upstreams of 300 bytes; each load for %v\n\n", processor(), runtime.NumCPU(), fsyncRate(b, dir), lasts)
		var table []string // in one piece at the end: hosts and loads print too
		row := func(r string) {
			fmt.Println(r)
			table = append(table, r)
		}
		ack, echo := buildBench(b), buildEcho(b)
		var kept float64
		for _, rate := range sizes {
			s := sizeCCS(b, ack, "com.example.bench", rate, lasts)
			row(s.row("CCS", "acks", rate))
			kept = s.kept
		}
		for _, rate := range sizes {
			row(sizeCCS(b, echo, "com.example.echo", rate, lasts).row("CCS", "answers", rate))
		}
		for _, rate := range sizes {
			row(sizeGateway(b, ack, rate, lasts).row("gateway", "acks", rate))
		}
		fmt.Printf("\n%s\n%s\n", sizedHead, strings.Join(table, "\n"))
		fmt.Printf("\nOf each message of the row CCS, acks, %d/s, the ledger kept %.0f bytes.\n\n", sizes[len(sizes)-1], kept)
	}
}

// sized is a row: what the host needed for a load. Rates are a second, CPU is in cores,
// memory in MiB.
type sized struct {
	acked, handled      float64
	latency             latency.Summary
	host, plugin        float64
	own, peak, pluginIs int     // own: without mapped pages of files; peak: with them
	written, commits    float64 // bytes that went to the disk, by all programs; each commit is one sync
	kept                float64 // bytes of the ledger's files for each message, when the host had stopped
}

const sizedHead = `| by | plugin | upstreams/s | acked/s | handled/s | ack p50, p99 | CPU of the host | of the plugin | memory of the host | with mapped files, at most | of the plugin | written a day | syncs/s |
|---|---|---|---|---|---|---|---|---|---|---|---|---|`

func (s sized) row(by, plugin string, rate int) string {
	return fmt.Sprintf("| %s | %s | %d | %.0f | %.0f | %.1f ms, %.1f ms | %.1f %% | %.1f %% | %d MiB | %d MiB | %d MiB | %s | %.0f |",
		by, plugin, rate, s.acked, s.handled, ms(s.latency.P50), ms(s.latency.P99), 100*s.host, 100*s.plugin, s.own, s.peak, s.pluginIs, aDay(s.written), s.commits)
}

// aDay is how much so many bytes a second are in a day.
func aDay(bytes float64) string {
	gib := bytes * 24 * 60 * 60 / (1 << 30)
	if gib < 100 {
		return fmt.Sprintf("%.1f GiB", gib)
	}
	return fmt.Sprintf("%.0f GiB", gib)
}

// sizeCCS has 1,000 devices behind the simulator of CCS.
func sizeCCS(b *testing.B, bin, category string, rate int, lasts time.Duration) sized {
	b.Helper()
	dir := benchDir(b)
	sim := startSim(b, bin, dir)
	host := startHost(b, bin, dir, sim)
	load := ccssim.Devices{Count: 1000, Rate: float64(rate), Category: category, Size: 300}
	sim.post(b, "/devices", load)
	rest(b.Context(), b, 5*time.Second)
	sim.post(b, "/devices", load) // latencies begin anew
	s := (&gatewayStage{sim: sim, host: host}).size(b, lasts, func() uint64 { return sim.report(b).Acked })
	s.latency = sim.report(b).AckLatency
	sim.delete(b, "/devices")
	(&gatewayStage{sim: sim, host: host}).settled(b)
	all := host.status(b).Ledger.Accepted
	host.stop(b)
	sim.stop(b)
	s.kept = float64(allocated(b, filepath.Join(dir, "data", "ledger"))) / float64(all)
	return s
}

// sizeGateway has up to 1,000 devices, each with a WebSocket over TLS. At the highest rate
// they send as fast as they are acked.
func sizeGateway(b *testing.B, bin string, rate int, lasts time.Duration) sized {
	b.Helper()
	load := fleetLoad{category: "com.example.bench", count: min(rate, 1000), window: 1}
	if load.every = time.Second * time.Duration(load.count) / time.Duration(rate); rate == sizes[len(sizes)-1] {
		load.every, load.window = 0, 20
	}
	stage := startStage(b, bin)
	load.address = stage.address
	p := startFleet(b, load)
	rest(b.Context(), b, 5*time.Second)
	p.answers.Reset()
	s := stage.size(b, lasts, func() uint64 { p.check(b); return p.stored.Load() })
	s.latency = p.answers.Summary()
	p.stopped.Store(true)
	stage.settled(b)
	p.close(b)
	stage.host.stop(b)
	stage.sim.stop(b)
	return s
}

// size measures the host under the load that there is.
func (s *gatewayStage) size(b *testing.B, lasts time.Duration, acked func() uint64) sized {
	b.Helper()
	host, plugin := s.host.pid(), s.host.plugin(b)
	type reading struct {
		at               time.Time
		acked, handled   uint64
		host, plugin     time.Duration
		written, commits float64
	}
	read := func() reading {
		return reading{time.Now(), acked(), s.host.status(b).Ledger.Handled, cpu(b, host), cpu(b, plugin), written(b, filepath.Dir(s.host.admin)), s.host.metric(b, "balhost_ledger_commit_seconds_count")}
	}
	before := read()
	rest(b.Context(), b, lasts)
	after := read()
	each := func(n float64) float64 { return n / after.at.Sub(before.at).Seconds() }
	return sized{
		acked: each(float64(after.acked - before.acked)), handled: each(float64(after.handled - before.handled)),
		host: each((after.host - before.host).Seconds()), plugin: each((after.plugin - before.plugin).Seconds()),
		own: residence(b, host, "RssAnon:"), peak: peak(b, host), pluginIs: resident(b, plugin),
		written: each(after.written - before.written), commits: each(after.commits - before.commits),
	}
}

// metric is the value of a series without labels.
func (h *hostProcess) metric(b *testing.B, name string) float64 {
	b.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(h.get(b, "/metrics"))
	if found == nil {
		b.Fatalf("there is no metric %s", name)
	}
	v, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// written is how many bytes the disk that has dir was given so far, by all programs: what
// the file system writes for itself counts too, and what /proc/PID/io counts is other than
// what is written.
func written(b *testing.B, dir string) float64 {
	b.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		b.Fatal(err)
	}
	stats, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		b.Fatal(err)
	}
	device := uint64(info.Sys().(*syscall.Stat_t).Dev) //nolint:unconvert // it has another type elsewhere
	for line := range strings.Lines(string(stats)) {
		var major, minor, sectors uint64
		f := strings.Fields(line)
		if _, err := fmt.Sscan(f[0]+" "+f[1]+" "+f[9], &major, &minor, &sectors); err != nil {
			b.Fatalf("%q: %v", line, err)
		}
		if major<<8|minor == device {
			return float64(sectors) * 512
		}
	}
	b.Fatalf("%s is on no disk that /proc/diskstats knows; name another folder in BENCH_DIR", dir)
	return 0
}

// allocated is how much of the disk the files below a folder take.
func allocated(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// benchDir is a new folder, on the disk that BENCH_DIR names.
func benchDir(b *testing.B) string {
	b.Helper()
	root := os.Getenv("BENCH_DIR")
	if root == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(root, "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// processor is the name of the machine's.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	found := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text)
	if found == nil {
		return runtime.GOARCH
	}
	return string(found[1])
}
