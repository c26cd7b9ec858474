package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/ccs"
	"balhost/host/internal/entry"
	"balhost/host/internal/fcmsim"
	"balhost/host/internal/fcmv1"
	"balhost/host/internal/ledger"
	"balhost/host/internal/outbox"
	"balhost/sdk/message"
)

// BenchmarkDownstream measures a session that has a backlog of downstreams of
// about 300 bytes, against a simulator of CCS in another process that answers each
// after 20 ms, over TLS; every outcome is committed to a ledger on disk with
// sync. A connection's window of 100 allows 5,000/s then; more connections
// allow more, until CPU is the limit. BENCH_PROFILE=FILE keeps the CPU profile
// of the last run.
func BenchmarkDownstream(b *testing.B) {
	const answer = 20 * time.Millisecond
	bin := buildBench(b)
	fmt.Printf("\ndownstream of 300 bytes, each answered after %v, window %d a connection, outcomes synced to disk, %d cores\n", answer, window, runtime.NumCPU())
	for _, connections := range []int{1, 4, 16} {
		benchDownstream(b, bin, overCCS, load{connections, answer})
	}
}

// BenchmarkDownstreamFCM does so against a simulator of FCM's HTTP v1, which answers
// after 50 ms, and beside it with CCS. Both transports may have 100 unanswered on each of 4
// connections.
func BenchmarkDownstreamFCM(b *testing.B) {
	const answer = 50 * time.Millisecond
	bin := buildBench(b)
	fmt.Printf("\ndownstream of 300 bytes by FCM's HTTP v1 and by CCS, each answered after %v, %d unanswered a connection, outcomes synced to disk, %d cores\n", answer, window, runtime.NumCPU())
	for _, far := range []far{overFCM, overCCS, overFCM, overCCS} { // in alternation, so that both have the same machine
		benchDownstream(b, bin, far, load{4, answer})
	}
}

// window is how many downstreams may be unanswered on a connection, to CCS as to FCM.
const window = 100

// load is how a benchmark sends: over so many connections to a peer that answers after
// so long.
type load struct {
	connections int
	answer      time.Duration
}

// allowed is how many a second the windows allow.
func (l load) allowed() float64 { return float64(window*l.connections) / l.answer.Seconds() }

func benchDownstream(b *testing.B, bin string, far far, l load) {
	const seconds = 6
	b.Run(fmt.Sprintf("%s/connections=%d", far.name, l.connections), func(b *testing.B) {
		for b.Loop() {
			r := downstream(b, bin, far, l, int(min(l.allowed(), 40_000))*seconds)
			fmt.Printf("  %-10s %2d connections: %6.0f/s, %3.0f%% of the %6.0f/s that the windows allow; CPU: host %.2f cores (%.1f µs a message), simulator %.2f, idle %.2f%s\n",
				far.name, l.connections, r.rate, 100*r.rate/l.allowed(), l.allowed(), r.hostCores, r.hostCores/r.rate*1e6, r.simCores, r.idleCores, r.remark)
			b.ReportMetric(r.rate, "msg/s")
			b.ReportMetric(100*r.rate/l.allowed(), "%window")
			b.ReportMetric(r.hostCores/r.rate*1e6, "host-µs/msg")
		}
	})
}

// far is a transport and the simulator of its peer.
type far struct {
	name    string
	start   func(b *testing.B, bin, dir string, l load) *simProcess
	session func(b *testing.B, sim *simProcess, l load, led *ledger.Ledger, out *outbox.Outbox) interface{ Run(context.Context) error }
	// arrived checks that the simulator got n, each once, and says more about the run.
	arrived func(b *testing.B, sim *simProcess, n int) (remark string)
}

var overCCS = far{
	name: "CCS",
	start: func(b *testing.B, bin, dir string, l load) *simProcess {
		return startSim(b, bin, dir, "--ack-delay", l.answer.String())
	},
	session: func(b *testing.B, sim *simProcess, l load, led *ledger.Ledger, out *outbox.Outbox) interface{ Run(context.Context) error } {
		return ccs.New(ccs.Options{
			Name: "main", Address: sim.ready.CCS, SenderID: sim.ready.SenderID, Key: "simulator", Connections: l.connections,
			TLS: sim.trusted(b), Inbox: led, Outbox: out,
		})
	},
	arrived: func(b *testing.B, sim *simProcess, n int) string {
		if c := sim.report(b); c.OverLimit > 0 || c.DuplicateDown > 0 || c.AckedDown != uint64(n) {
			b.Errorf("%d of %d arrived, %d past the limit, %d twice", c.AckedDown, n, c.OverLimit, c.DuplicateDown)
		}
		return ""
	},
}

var overFCM = far{
	name: "FCM v1",
	start: func(b *testing.B, bin, dir string, l load) *simProcess {
		return startSim(b, bin, dir, "--fcm", "--key-file", filepath.Join(dir, "key.json"), "--quota", "0", "--answer-delay", l.answer.String())
	},
	session: func(b *testing.B, sim *simProcess, l load, _ *ledger.Ledger, out *outbox.Outbox) interface{ Run(context.Context) error } {
		key, err := os.ReadFile(sim.ready.KeyFile)
		if err != nil {
			b.Fatal(err)
		}
		return fcmv1.New(fcmv1.Options{
			Name: "main", SenderID: sim.ready.SenderID, Credentials: string(key), Endpoint: sim.ready.FCM, Connections: l.connections,
			Rate: 100_000, TLS: sim.trusted(b), Outbox: out, // its ramp begins at 5,000/s
		})
	},
	arrived: func(b *testing.B, sim *simProcess, n int) string {
		var r fcmsim.Report
		sim.call(b, "GET", "/report", nil, &r)
		if r.Duplicates > 0 || r.Delivered != uint64(n) {
			b.Errorf("%d of %d arrived, %d twice", r.Delivered, n, r.Duplicates)
		}
		return fmt.Sprintf("; dialled %d connections in all, at most %d requests at once", r.Connections, r.MostStreams)
	},
}

// trusted is the CA of the simulator.
func (s *simProcess) trusted(b *testing.B) *tls.Config {
	b.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.ca(b))
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// downstreamRun is what one run gave: messages/s, and cores in use. What is
// neither theirs nor idle other programs had.
type downstreamRun struct {
	rate, hostCores, simCores, idleCores float64
	remark                               string
}

// downstream sends n from the ledger to the simulator, and measures the middle
// eight tenths.
func downstream(b *testing.B, bin string, far far, l load, n int) downstreamRun {
	b.Helper()
	dir := b.TempDir()
	if d := os.Getenv("BENCH_DIR"); d != "" { // another disk
		dir = filepath.Join(d, fmt.Sprintf("downstream-%d-%d", os.Getpid(), l.connections))
		defer os.RemoveAll(dir) //nolint:errcheck // what is left of a benchmark
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	sim := far.start(b, bin, dir, l)
	defer sim.stop(b)
	led, err := ledger.Open(b.Context(), ledger.Options{Dir: filepath.Join(dir, "ledger"), DiskSoft: 64 << 20, DiskHard: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer led.Close() //nolint:errcheck // the benchmark is over
	backlog(b, led, sim.ready.SenderID, n)

	out := outbox.New(outbox.Options{Ledger: led})
	session := far.session(b, sim, l, led, out)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 2)
	go func() { ended <- out.Run(ctx) }()
	go func() { ended <- session.Run(ctx) }()

	type reading struct {
		at              time.Time
		acked           uint64
		host, sim, idle time.Duration
	}
	read := func() reading {
		return reading{time.Now(), led.Counts().Acked, cpu(b, os.Getpid()), cpu(b, sim.pid()), idle(b)}
	}
	acked := func(share float64) func() bool {
		return func() bool { return float64(led.Counts().Acked) >= share*float64(n) }
	}
	poll(b, "a tenth of the outcomes", acked(0.1))
	before := read()
	if file := os.Getenv("BENCH_PROFILE"); file != "" {
		f, err := os.Create(file)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // what counts is that it was written
		if err := pprof.StartCPUProfile(f); err != nil {
			b.Fatal(err)
		}
	}
	poll(b, "nine tenths of the outcomes", acked(0.9))
	after := read()
	pprof.StopCPUProfile()
	poll(b, "all outcomes", acked(1))
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
	remark := far.arrived(b, sim, n)
	elapsed := after.at.Sub(before.at).Seconds()
	return downstreamRun{
		rate:      float64(after.acked-before.acked) / elapsed,
		hostCores: (after.host - before.host).Seconds() / elapsed, simCores: (after.sim - before.sim).Seconds() / elapsed,
		idleCores: (after.idle - before.idle).Seconds() / elapsed,
		remark:    remark,
	}
}

// idle is how long all cores together had nothing to do, since the machine's start.
func idle(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	var ticks int
	if _, err := fmt.Sscanf(string(stat), "cpu %d %d %d %d", new(int), new(int), new(int), &ticks); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// backlog stores n downstreams of a sender to 1,000 devices.
func backlog(b *testing.B, led *ledger.Ledger, sender string, n int) {
	b.Helper()
	pad := strings.Repeat("x", 200)
	stored := make(chan error, n)
	for i := range n {
		m, err := message.Downstream{
			To: message.Token(fmt.Sprint("device-", i%1000)), MessageID: fmt.Sprint("d-", i), Session: sender,
			Data: map[string]string{"n": fmt.Sprint(i), "pad": pad},
		}.Checked()
		if err != nil {
			b.Fatal(err)
		}
		led.Update("", entry.Changes{Sends: []entry.Send{{Message: m}}}, func(err error) { stored <- err })
	}
	for range n {
		if err := <-stored; err != nil {
			b.Fatal(err)
		}
	}
}
