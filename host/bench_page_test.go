package main

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
)

// BenchmarkPage measures what people who look cost the host: the overview open in a browser,
// which asks for its parts every two seconds, and a live tail of everything on a page and one
// in a shell, at 1,000 upstreams/s. Runs with and without them follow each other, so that
// what the machine does meanwhile weighs on both. BENCH_ROUNDS and BENCH_SECONDS change how
// many there are (5), and how long each lasts (10). BENCH_PROFILE=FILE keeps the host's CPU
// profile of the last run with viewers.
func BenchmarkPage(b *testing.B) {
	const rate, aim = 1000, 5.0
	rounds, _ := strconv.Atoi(cmp.Or(os.Getenv("BENCH_ROUNDS"), "5"))
	seconds, _ := strconv.Atoi(cmp.Or(os.Getenv("BENCH_SECONDS"), "10"))
	lasts := time.Duration(seconds) * time.Second
	bin, dir := buildBench(b), b.TempDir()
	for b.Loop() {
		sim := startSim(b, bin, dir)
		host := startHost(b, bin, dir, sim)
		load := ccssim.Devices{Count: 1000, Rate: rate, Category: "com.example.bench", Size: 300}
		sim.post(b, "/devices", load)
		rest(b.Context(), b, 5*time.Second)
		used := func() (percent, handled float64) {
			begin, before, count := time.Now(), cpu(b, host.pid()), host.status(b).Ledger.Handled
			rest(b.Context(), b, lasts)
			took := time.Since(begin).Seconds()
			return 100 * (cpu(b, host.pid()) - before).Seconds() / took, float64(host.status(b).Ledger.Handled-count) / took
		}
		fmt.Printf("\nthe page open and two tails running, at %d upstreams/s: CPU of the host, in percent of a core\n", rate)
		var alone, watched, more []float64
		for i := range rounds {
			quiet, n := used()
			v := look(b, host.admin)
			if file := os.Getenv("BENCH_PROFILE"); file != "" && i == rounds-1 {
				host.profile(b, file, seconds-1)
			}
			busy, _ := used()
			v.stop()
			alone, watched, more = append(alone, quiet), append(watched, busy), append(more, busy-quiet)
			fmt.Printf("  round %d: %5.1f without, %5.1f with, %+5.1f; %.0f/s handled; %d parts and %d KiB of tails came\n", i+1, quiet, busy, busy-quiet, n, v.parts.Load(), v.bytes.Load()>>10)
			if v.parts.Load() == 0 || v.bytes.Load() == 0 {
				b.Error("nobody looked: no part, or nothing of a tail, has come")
			}
		}
		extra := middle(more)
		fmt.Printf("  medians: %.1f without, %.1f with; they cost %.1f %% of a core (aim: under %.0f)\n\n", middle(alone), middle(watched), extra, aim)
		b.ReportMetric(extra, "%core")
		sim.delete(b, "/devices")
		host.stop(b)
		sim.stop(b)
	}
}

// viewers are a browser and a shell.
type viewers struct {
	parts, bytes atomic.Int64
	cancel       context.CancelFunc
	ended        sync.WaitGroup
}

func (v *viewers) stop() { v.cancel(); v.ended.Wait() }

// liveParts finds what a page asks for again and again.
var liveParts = regexp.MustCompile(`data-live[^>]* hx-get="([^"]+)"`)

// look opens the overview, the page's live tail, and a tail as a shell has it.
func look(b *testing.B, socket string) *viewers {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	v := &viewers{cancel: cancel}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	get := func(path string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
		if err != nil {
			return nil, err
		}
		return client.Do(r)
	}
	read := func(path string) []byte {
		resp, err := get(path)
		if err != nil {
			return nil
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body) // cut off at the end of the run
		return text
	}
	var paths []string
	for _, m := range liveParts.FindAllStringSubmatch(string(read("/")), -1) {
		paths = append(paths, html.UnescapeString(m[1]))
	}
	if len(paths) < 3 {
		b.Fatalf("the overview has %d live parts", len(paths))
	}
	v.ended.Go(func() {
		tick := time.NewTicker(2 * time.Second) // as page.js
		defer tick.Stop()
		for {
			for _, path := range paths {
				if len(read(path)) > 0 {
					v.parts.Add(1)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	for _, path := range []string{"/tail/steps", "/v1/tail"} {
		v.ended.Go(func() {
			resp, err := get(path)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := resp.Body.Read(buf)
				if v.bytes.Add(int64(n)); err != nil {
					return
				}
			}
		})
	}
	return v
}

// middle is the median.
func middle(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] }
