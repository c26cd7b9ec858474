package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"balhost/host/internal/ccssim"
	"balhost/host/internal/simnet"
)

// BenchmarkGateway measures what 1,000 devices get from the gateway, over TLS, beside what
// CCS gets from the same host in the same run: durable upstreams by WebSocket and by
// HTTP/2, the echo, and the memory of sockets that are idle. The devices are in this
// process. BENCH_PROFILE=FILE keeps CPU profiles of the host, one for each load, in files
// whose names begin so. BENCH_SECONDS is how long a load takes.
func BenchmarkGateway(b *testing.B) {
	lasts := 10 * time.Second
	if n, err := strconv.Atoi(os.Getenv("BENCH_SECONDS")); err == nil {
		lasts = time.Duration(n) * time.Second
	}
	fmt.Printf("\ngateway: upstreams of 300 bytes from 1,000 devices, each with a TLS connection of its own, ledger synced at every commit\n")
	b.Run("upstream", func(b *testing.B) {
		for b.Loop() {
			benchPhonesUpstream(b, buildBench(b), lasts)
		}
	})
	b.Run("echo", func(b *testing.B) {
		for b.Loop() {
			benchPhonesEcho(b, buildEcho(b), lasts)
		}
	})
	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			startStage(b, buildBench(b)).idle(b, 10_000)
		}
	})
}

func benchPhonesUpstream(b *testing.B, bin string, lasts time.Duration) {
	s := startStage(b, bin)
	ccs := measure(b.Context(), b, s.sim, s.host, 0, lasts, "")
	ccs.print("CCS, window 100")
	for _, one := range []struct {
		name, metric string
		load         fleetLoad
	}{
		{"WebSocket, 20 un-acked each", "ws-msg/s", fleetLoad{window: 20}},
		{"WebSocket, 1 un-acked each", "", fleetLoad{window: 1}},
		{"HTTP/2, batches of 20", "h2x20-msg/s", fleetLoad{batch: 20}},
		{"HTTP/2, batches of 1", "h2x1-msg/s", fleetLoad{batch: 1}},
		{"WebSocket, 3,000/s", "", fleetLoad{window: 1, every: time.Second / 3}},
	} {
		one.load.count, one.load.category = 1000, "com.example.bench"
		r := s.measure(b, one.load, lasts, one.name)
		r.print(one.name)
		if one.metric != "" {
			fmt.Printf("    %.2f of CCS's rate\n", r.rate/ccs.rate)
			b.ReportMetric(r.rate, one.metric)
		}
	}
	slow := measure(b.Context(), b, s.sim, s.host, 3000, lasts, "")
	slow.print("CCS, 3,000/s")
	fmt.Printf("  peak memory: host %d MiB, plugin %d MiB\n", peak(b, s.host.pid()), peak(b, s.host.plugin(b)))
}

// benchPhonesEcho measures the way from a device to the plugin and back: upstream,
// handled, downstream, ack.
func benchPhonesEcho(b *testing.B, bin string, lasts time.Duration) {
	fmt.Printf("  echo: upstream, plugin, downstream, the device's ack\n")
	s := startStage(b, bin)
	load := ccssim.Devices{Count: 1000, Category: "com.example.echo", Size: 300}
	s.sim.post(b, "/devices", load)
	rest(b.Context(), b, 2*time.Second)
	began, before := time.Now(), s.sim.report(b)
	rest(b.Context(), b, lasts)
	after := s.sim.report(b)
	ccs := float64(after.AckedDown-before.AckedDown) / time.Since(began).Seconds()
	fmt.Printf("  %-28s %7.0f echoes/s\n", "CCS, as windows allow", ccs)
	s.sim.delete(b, "/devices")
	s.settled(b)
	r := s.measure(b, fleetLoad{count: 1000, window: 10, category: "com.example.echo", echo: true}, lasts, "echo")
	r.print("WebSocket, 10 un-echoed each")
	fmt.Printf("    %.0f echoes/s, %.2f of CCS's rate; the latency is from upstream to echo\n", r.echoes, r.echoes/ccs)
	b.ReportMetric(r.echoes, "echo/s")
}

// buildEcho is buildBench with the example that sends each message back.
func buildEcho(b *testing.B) string {
	b.Helper()
	bin := buildBench(b)
	plugins := filepath.Join(bin, "plugins")
	if err := os.Remove(filepath.Join(plugins, "ackonly")); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", filepath.Join(plugins, "echo"), "../examples/echo").CombinedOutput(); err != nil {
		b.Fatalf("build the echo: %v\n%s", err, out)
	}
	return bin
}

// gatewayStage is a host with a gateway beside CCS, and the simulator of CCS.
type gatewayStage struct {
	sim     *simProcess
	host    *hostProcess
	address string // of the gateway
}

func startStage(b *testing.B, bin string) *gatewayStage {
	b.Helper()
	dir := b.TempDir()
	if d := os.Getenv("BENCH_DIR"); d != "" { // another disk
		var err error
		if dir, err = os.MkdirTemp(d, "gateway"); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	writeLeaf(b, dir)
	sim := startSim(b, bin, dir)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		b.Fatal(err)
	}
	gateway := fmt.Sprintf(`  gateway {
    listen          = %q
    rate            = 100000
    max_connections = 11000
    tls {
      cert_file = %q
      key_file  = %q
    }
    auth "static" {
      token = "bench"
    }
  }
`, address, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	return &gatewayStage{sim: sim, host: startHost(b, bin, dir, sim, gateway), address: address}
}

// writeLeaf writes tls.crt and tls.key.
func writeLeaf(b *testing.B, dir string) {
	b.Helper()
	ca, err := simnet.OpenAuthority("")
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := ca.Leaf()
	if err != nil {
		b.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

// fleetRun is a run of phones: their own CPU is where that of a simulator is.
type fleetRun struct {
	run
	echoes float64
}

func (s *gatewayStage) measure(b *testing.B, l fleetLoad, lasts time.Duration, name string) fleetRun {
	b.Helper()
	l.address = s.address
	p := startFleet(b, l)
	rest(b.Context(), b, 2*time.Second)
	plugin := s.host.plugin(b)
	type reading struct {
		at                      time.Time
		stored, echoed, handled uint64
		phones, host, plugin    time.Duration
	}
	read := func() reading {
		p.check(b)
		return reading{time.Now(), p.stored.Load(), p.echoed.Load(), s.host.status(b).Ledger.Handled, cpu(b, os.Getpid()), cpu(b, s.host.pid()), cpu(b, plugin)}
	}
	p.answers.Reset()
	before := read()
	if file := os.Getenv("BENCH_PROFILE"); file != "" {
		s.host.profile(b, file+"-"+regexp.MustCompile(`\W+`).ReplaceAllString(name, "-"), max(1, int(lasts.Seconds())-1))
	}
	rest(b.Context(), b, lasts)
	after, latency := read(), p.answers.Summary()
	p.stopped.Store(true)
	s.settled(b)
	p.close(b)
	elapsed, n := after.at.Sub(before.at).Seconds(), float64(after.stored-before.stored)
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / n }
	return fleetRun{run: run{
		rate: n / elapsed, handled: float64(after.handled-before.handled) / elapsed, latency: latency,
		sim: each(after.phones - before.phones), host: each(after.host - before.host), plugin: each(after.plugin - before.plugin),
	}, echoes: float64(after.echoed-before.echoed) / elapsed}
}

// settled waits until everything is handled, and all downstreams have their answers. What
// the load has left behind can be very much, so it says how fast that goes.
func (s *gatewayStage) settled(b *testing.B) {
	b.Helper()
	began, left, used := time.Now(), s.host.status(b).Ledger, cpu(b, s.host.pid())
	for st := left; st.Events > 0 || st.Downstreams > 0; st = s.host.status(b).Ledger {
		if time.Since(began) > 10*time.Minute {
			b.Fatalf("after ten minutes %d events and %d downstreams are left", st.Events, st.Downstreams)
		}
		rest(b.Context(), b, 200*time.Millisecond)
	}
	if left.Events > 10_000 {
		took, each := time.Since(began).Seconds(), float64((cpu(b, s.host.pid())-used).Microseconds())/float64(left.Events)
		fmt.Printf("    it left %d events behind, which took %.1f s: %.0f/s, %.1f µs of the host's CPU each\n", left.Events, took, float64(left.Events)/took, each)
	}
}

// idle prints what a socket takes of the host's memory whose device says nothing: what is
// in use after a collection, and what is resident.
func (s *gatewayStage) idle(b *testing.B, n int) {
	b.Helper()
	used, rss := s.inUse(b), resident(b, s.host.pid())
	p := startFleet(b, fleetLoad{address: s.address, category: "com.example.bench", count: n})
	if got := s.host.status(b).Sessions[0].Gateway.Sockets; got != n {
		b.Fatalf("%d of %d are connected", got, n)
	}
	each := float64(s.inUse(b)-used) / float64(n) / 1024
	grown := float64(resident(b, s.host.pid())-rss) * 1024 / float64(n)
	p.close(b)
	fmt.Printf("  %d idle sockets: %.1f KiB each of heap and stacks in use; resident memory grew by %.1f KiB each\n", n, each, grown)
	b.ReportMetric(each, "KiB/socket")
}

// inUse is the host's heap and stacks in bytes, after a collection.
func (s *gatewayStage) inUse(b *testing.B) (bytes int) {
	b.Helper()
	var text []byte
	for range 2 { // stacks shrink and pools empty in the second one
		text = s.host.get(b, "/debug/pprof/heap?gc=1&debug=1")
	}
	for _, name := range []string{"HeapAlloc", "Stack"} {
		found := regexp.MustCompile(`(?m)^# ` + name + ` = (\d+)`).FindSubmatch(text)
		if found == nil {
			b.Fatalf("the heap profile has no %s", name)
		}
		n, err := strconv.Atoi(string(found[1]))
		if err != nil {
			b.Fatal(err)
		}
		bytes += n
	}
	return bytes
}
