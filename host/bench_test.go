package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/keyfile"
	"balhost/host/internal/latency"
)

// BenchmarkUpstream measures the main path with real processes: simulator, host
// and a plugin that does nothing, upstreams of 300 bytes in a window of 100, the
// ledger on disk with every commit synced. What it prints stands beside two
// limits measured in the same run. BENCH_PROFILE=FILE keeps the host's CPU
// profile of the saturated part. BENCH_KEY=1 encrypts the ledger.
func BenchmarkUpstream(b *testing.B) {
	const seconds = 15
	dir := b.TempDir()
	if d := os.Getenv("BENCH_DIR"); d != "" { // another disk
		dir = d
	}
	fsyncs := fsyncRate(b, dir)
	bin := buildBench(b)

	ceiling := startSim(b, bin, dir, "--devices", "1000", "--rate", "0", "--limit", "400000", "--size", "300", "--category", "com.example.bench")
	top, err := measureCeiling(b.Context(), ceilingClient{Messages: 400_000, Addr: ceiling.ready.CCS, SenderID: ceiling.ready.SenderID, Key: "simulator", CAPEM: ceiling.ca(b)})
	if err != nil {
		b.Fatal(err)
	}
	ceiling.stop(b)

	for b.Loop() {
		sim := startSim(b, bin, dir)
		host := startHost(b, bin, dir, sim)
		fmt.Printf("\nupstream of 300 bytes, window 100, one connection, ledger synced at every commit\n")
		fmt.Printf("  limits of this machine in this run: %.0f fsyncs/s of 4 KiB, %.0f upstreams/s from the simulator to a client that stores nothing\n", fsyncs, top)
		full := measure(b.Context(), b, sim, host, 0, seconds*time.Second, os.Getenv("BENCH_PROFILE"))
		full.print("as fast as the window allows")
		fmt.Printf("    %.2f of the simulator's ceiling, %.1f messages an fsync of the disk\n", full.rate/top, full.rate/fsyncs)
		for _, rate := range []int{1000, 3000, 10000} {
			m := measure(b.Context(), b, sim, host, rate, seconds*time.Second, "")
			m.print(fmt.Sprintf("%d/s", rate))
			if rate == 3000 {
				b.ReportMetric(m.latency.P99.Seconds()*1000, "p99ms@3000/s")
			}
		}
		fmt.Printf("  peak memory: simulator %d MiB, host %d MiB, plugin %d MiB\n\n", peak(b, sim.pid()), peak(b, host.pid()), peak(b, host.plugin(b)))
		b.ReportMetric(full.rate, "msg/s")
		b.ReportMetric(full.latency.P50.Seconds()*1000, "p50ms")
		b.ReportMetric(full.latency.P99.Seconds()*1000, "p99ms")
		b.ReportMetric(full.host, "host-µs/msg")
		host.stop(b)
		sim.stop(b)
	}
}

// run is what one measurement gave. CPU is in µs a message.
type run struct {
	rate, handled     float64
	latency           latency.Summary
	sim, host, plugin float64
}

func (r run) print(name string) {
	fmt.Printf("  %-28s %7.0f acked/s, %7.0f handled/s; ack p50 %.2f ms, p99 %.2f ms, max %.1f ms; CPU a message: simulator %.1f µs, host %.1f µs, plugin %.1f µs\n",
		name, r.rate, r.handled, ms(r.latency.P50), ms(r.latency.P99), ms(r.latency.Max), r.sim, r.host, r.plugin)
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// measure runs a load for a time, after two seconds to warm up, and waits until
// the plugin has handled all of it.
func measure(ctx context.Context, b *testing.B, sim *simProcess, host *hostProcess, rate int, lasts time.Duration, profile string) run {
	b.Helper()
	load := ccssim.Devices{Count: 1000, Rate: float64(rate), Category: "com.example.bench", Size: 300}
	sim.post(b, "/devices", load)
	rest(ctx, b, 2*time.Second)
	sim.post(b, "/devices", load) // latencies begin anew
	plugin := host.plugin(b)
	type reading struct {
		at                time.Time
		acked, handled    uint64
		sim, host, plugin time.Duration
	}
	read := func() reading {
		return reading{time.Now(), sim.report(b).Acked, host.status(b).Ledger.Handled, cpu(b, sim.pid()), cpu(b, host.pid()), cpu(b, plugin)}
	}
	before := read()
	if profile != "" {
		host.profile(b, profile, int(lasts.Seconds())-1)
	}
	rest(ctx, b, time.Until(before.at.Add(lasts)))
	after := read()
	latency := sim.report(b).AckLatency
	sim.delete(b, "/devices")
	poll(b, "the plugin has handled everything", func() bool { return host.status(b).Ledger.Events == 0 })
	elapsed, n := after.at.Sub(before.at).Seconds(), float64(after.acked-before.acked)
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / n }
	return run{
		rate: n / elapsed, handled: float64(after.handled-before.handled) / elapsed, latency: latency,
		sim: each(after.sim - before.sim), host: each(after.host - before.host), plugin: each(after.plugin - before.plugin),
	}
}

// rest lets time pass, unless ctx ends: then b does.
func rest(ctx context.Context, b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		b.Fatal(context.Cause(ctx))
	}
}

// fsyncRate is how often a second 4 KiB can be appended and synced.
func fsyncRate(b *testing.B, dir string) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page, n := make([]byte, 4096), 0
	start := time.Now()
	for ; time.Since(start) < 2*time.Second; n++ {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}

// buildBench builds the command and the plugin and gives their folder.
func buildBench(b *testing.B) string {
	b.Helper()
	return buildIn(b.Context(), b, ".")
}

// buildIn does so with this folder as it is at any commit. When ctx ends, the
// compilers do too.
func buildIn(ctx context.Context, b *testing.B, dir string) string {
	b.Helper()
	bin, half := b.TempDir(), b.TempDir()
	for target, source := range map[string]string{"balhost": ".", "plugins/ackonly": "./testdata/ackonly"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(bin, target), source)
		build.Dir, build.Env = dir, append(os.Environ(), "GOTMPDIR="+half)
		build.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		build.Cancel = func() error { return syscall.Kill(-build.Process.Pid, syscall.SIGKILL) }
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("build %s in %s: %v\n%s", source, dir, cmp.Or(context.Cause(ctx), err), out)
		}
	}
	return bin
}

// child is a process of the benchmark.
type child struct{ cmd *exec.Cmd }

func (c child) pid() int { return c.cmd.Process.Pid }

// start runs the process until stop, or at the latest until the end of b.
func (c child) start(b *testing.B) {
	b.Helper()
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { // before its folder goes
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
		defer late.Stop()
		_ = c.cmd.Wait()
	})
}

func (c child) stop(b *testing.B) {
	b.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.cmd.Wait(); err != nil {
		b.Errorf("%s: %v", c.cmd.Args[1], err)
	}
}

type simProcess struct {
	child
	ready struct {
		CCS      string `json:"ccs"`
		FCM      string `json:"fcm"`
		KeyFile  string `json:"key_file"`
		HTTP     string `json:"http"`
		CAFile   string `json:"ca_file"`
		SenderID string `json:"sender_id"`
	}
}

func startSim(b *testing.B, bin, dir string, args ...string) *simProcess {
	b.Helper()
	args = append([]string{"sim", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ca-file", filepath.Join(dir, "ca.pem"), "--transcript", "-1", "--quiet", "--json"}, args...)
	s := &simProcess{child: child{exec.Command(filepath.Join(bin, "balhost"), args...)}}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	s.start(b)
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(line, &s.ready); err != nil {
		b.Fatalf("%s: %v", line, err)
	}
	go io.Copy(io.Discard, lines) //nolint:errcheck // ends with the process
	return s
}

func (s *simProcess) ca(b *testing.B) []byte {
	b.Helper()
	pem, err := os.ReadFile(s.ready.CAFile)
	if err != nil {
		b.Fatal(err)
	}
	return pem
}

func (s *simProcess) call(b *testing.B, method, path string, in, out any) {
	b.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequest(method, s.ready.HTTP+path, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		b.Fatalf("%s %s: %s %s %v", method, path, resp.Status, text, err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			b.Fatal(err)
		}
	}
}

func (s *simProcess) post(b *testing.B, path string, in any) { s.call(b, "POST", path, in, nil) }
func (s *simProcess) delete(b *testing.B, path string)       { s.call(b, "DELETE", path, nil, nil) }

func (s *simProcess) report(b *testing.B) (r ccssim.Report) {
	s.call(b, "GET", "/report", nil, &r)
	return r
}

type hostProcess struct {
	child
	client *admin.Client
	admin  string
}

// startHost runs a host with a session by CCS. more is what the session has beside it.
func startHost(b *testing.B, bin, dir string, sim *simProcess, more ...string) *hostProcess {
	b.Helper()
	socket := filepath.Join(dir, "admin.sock")
	session := fmt.Sprintf(`    address    = %q
    server_key = "simulator"
    tls {
      ca_file     = %q
      server_name = "localhost"
    }
`, sim.ready.CCS, sim.ready.CAFile)
	key := ""
	if os.Getenv("BENCH_KEY") != "" {
		file := filepath.Join(dir, "ledger.key")
		if _, err := keyfile.Make(file); err != nil && !errors.Is(err, os.ErrExist) {
			b.Fatal(err)
		}
		key = fmt.Sprintf("  encryption_key_file = %q\n", file)
	}
	rest := fmt.Sprintf(`
data_dir = "data"
plugins {
  dir = %q
}
admin {
  listen = %q
}
ledger {
  disk_soft = "64MiB"
  disk_hard = "16MiB"
  ballast   = "1MiB"
%s}
log {
  level = "warn"
}
`, filepath.Join(bin, "plugins"), "unix:"+socket, key)
	path := filepath.Join(dir, "config.hcl")
	for _, form := range []string{"  ccs {\n%s  }\n", "%s"} { // the second one is for a host from before there were other transports
		config := fmt.Sprintf("session \"main\" {\n  sender_id = %q\n"+form+"%s}\n", sim.ready.SenderID, session, strings.Join(more, "")) + rest
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			b.Fatal(err)
		}
		if exec.Command(filepath.Join(bin, "balhost"), "check", "-c", path).Run() == nil {
			break
		}
	}
	h := &hostProcess{child: child{exec.Command(filepath.Join(bin, "balhost"), "run", "-c", path)}, client: admin.NewClient("unix:"+socket, ""), admin: socket}
	h.cmd.Stdout, h.cmd.Stderr = os.Stderr, os.Stderr
	h.start(b)
	poll(b, "the host is ready", func() bool {
		st, err := h.client.Status(b.Context())
		return err == nil && st.Ready && len(st.Plugins) == 1 && st.Plugins[0].State == "running"
	})
	return h
}

func (h *hostProcess) status(b *testing.B) admin.Status {
	b.Helper()
	st, err := h.client.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return st
}

func (h *hostProcess) plugin(b *testing.B) int { return h.status(b).Plugins[0].PID }

// profile keeps the CPU profile of the next seconds, in the background.
func (h *hostProcess) profile(b *testing.B, file string, seconds int) {
	b.Helper()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "curl", "-s", "--unix-socket", h.admin, "-o", file, fmt.Sprintf("http://localhost/debug/pprof/profile?seconds=%d", seconds)).CombinedOutput()
		if err != nil {
			b.Logf("profile: %v %s", err, out)
		}
	}()
}

// age is how long a process has been there, in hundredths of a second.
func age(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	began, err := strconv.Atoi(strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))[19])
	if err != nil {
		b.Fatal(err)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		b.Fatal(err)
	}
	var now float64
	if _, err := fmt.Sscan(string(uptime), &now); err != nil {
		b.Fatal(err)
	}
	return time.Duration(now*float64(time.Second)) - time.Duration(began)*10*time.Millisecond
}

// cpu is what a process has used so far.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// peak is the most memory that a process had, in MiB; resident what it has.
func peak(b *testing.B, pid int) int     { return residence(b, pid, "VmHWM:") }
func resident(b *testing.B, pid int) int { return residence(b, pid, "VmRSS:") }

func residence(b *testing.B, pid int, which string) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	lines := strings.Split(string(status), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, which) })
	kib, err := strconv.Atoi(strings.Fields(lines[i])[1])
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// poll waits for a condition, a minute at most.
func poll(b *testing.B, what string, ok func() bool) {
	b.Helper()
	pollFor(b, time.Minute, what, ok)
}

// pollFor is poll with another limit.
func pollFor(b *testing.B, limit time.Duration, what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("waited %s and still not: %s", limit, what)
		}
	}
}
