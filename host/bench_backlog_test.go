package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
	"balhost/host/internal/status"
)

// BenchmarkBacklog measures what upstreams cost that nobody takes: the host's
// memory for each while they come and after a restart, and how long a start takes with
// them. BENCH_PENDING is how many; a million without it.
func BenchmarkBacklog(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("BENCH_PENDING"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	bin, dir := buildBench(b), b.TempDir()
	if d := os.Getenv("BENCH_DIR"); d != "" { // another disk
		dir = filepath.Join(d, fmt.Sprint("backlog-", os.Getpid()))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // what is left of a benchmark
	}
	for b.Loop() {
		sim := startSim(b, bin, dir)
		begin := time.Now()
		host := startHost(b, bin, dir, sim)
		bare := time.Since(begin)
		sim.post(b, "/devices", ccssim.Devices{Count: 1000, Limit: 50_000, Category: "com.example.bench", Size: 300}) // badger and the cache have then what they always take
		wait := func(what string, ok func(admin.Status) bool) {
			for end := time.Now().Add(15 * time.Minute); !ok(host.status(b)); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					b.Fatalf("waited a quarter of an hour and still not: %s", what)
				}
			}
		}
		wait("the load before is handled", func(st admin.Status) bool { return st.Ledger.Handled == 50_000 })
		none := memory(b, host)
		sim.post(b, "/devices", ccssim.Devices{Count: 1000, Limit: n, Category: "com.example.nobody", Size: 300})
		all := func(st admin.Status) bool {
			return slices.ContainsFunc(st.Holding, func(h status.Holding) bool { return h.Pending == n })
		}
		wait("all are pending", all)
		come, top := memory(b, host), peak(b, host.pid())
		sim.delete(b, "/devices")
		host.stop(b)

		begin = time.Now()
		host = startHost(b, bin, dir, sim)
		ready := time.Since(begin)
		wait("the host knows of all that is pending", all)
		known := time.Since(begin)
		used := cpu(b, host.pid())
		again := memory(b, host)
		each := func(m int) float64 { return float64(m-none.live) / float64(n) }
		fmt.Printf("\n%d upstreams of 300 bytes pending, that no plugin claims\n", n)
		for _, m := range []struct {
			when string
			heap
		}{{"before them", none}, {"when all have come", come}, {"after a restart", again}} {
			fmt.Printf("  %-20s heap %3d MiB live (%.0f bytes each), anonymous memory %3d MiB\n", m.when, m.live>>20, each(m.live), m.anonymous>>20)
		}
		fmt.Printf("  peak of the resident memory while they came %d MiB; a start is ready after %.2f s and knows of all after %.2f s (%.2f s of CPU), with none ready after %.2f s\n\n",
			top, ready.Seconds(), known.Seconds(), used.Seconds(), bare.Seconds())
		b.ReportMetric(each(come.live), "bytes/pending")
		b.ReportMetric(known.Seconds(), "start-s")
		host.stop(b)
		sim.stop(b)
	}
}

// heap is a process's memory, in bytes: what its heap holds after a collection, and
// what of it is no file's, before that.
type heap struct{ live, anonymous int }

// memory is that of the host. Badger takes 200 MiB while it builds tables and gives them back over 20 s,
// so what is live is the least of 25 s.
func memory(b *testing.B, h *hostProcess) (m heap) {
	b.Helper()
	m.anonymous = anonymous(b, h.pid())
	m.live = live(b, h)
	for range 50 {
		time.Sleep(500 * time.Millisecond)
		m.live = min(m.live, live(b, h))
	}
	return m
}

// live is what the host's heap holds after a collection.
func live(b *testing.B, h *hostProcess) int {
	b.Helper()
	_, rest, _ := strings.Cut(string(h.get(b, "/debug/pprof/heap?gc=1&debug=1")), "# HeapAlloc = ")
	bytes, err := strconv.Atoi(strings.Fields(rest + " ?")[0])
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// anonymous is what a process has of memory that is no file's, in bytes.
func anonymous(b *testing.B, pid int) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return kib << 10
		}
	}
	b.Fatalf("no RssAnon of process %d", pid)
	return 0
}

// get is what the admin API says at a path.
func (h *hostProcess) get(b *testing.B, path string) []byte {
	b.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.admin)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://localhost" + path)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return text
}
