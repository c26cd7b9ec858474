package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/wire"

	plugin "github.com/hashicorp/go-plugin"
)

// The test binary is also a plugin, when a host starts it: one that takes
// everything, echoes what has data and logs what it is told to.
func TestMain(m *testing.M) {
	if os.Getenv(wire.Handshake.MagicCookieKey) == "" && os.Getenv("SDK_TEST_PLUGIN") == "" {
		os.Exit(m.Run())
	}
	var host *sdk.Host
	sdk.Serve(sdk.Plugin{
		Name: "probe", Version: "1", Categories: []string{"*"}, Order: sdk.OrderNone,
		Upstream: func(_ context.Context, tx *sdk.Tx, m sdk.Upstream) error {
			for i := 0; m.Category == "flood" && i < 5000; i++ {
				host.Log().Info("flood", "line", i, "text", strings.Repeat("x", 1000))
			}
			if m.Category == "slow" {
				fmt.Fprintln(os.Stderr, "begins")
				for _, err := os.Stat(m.MessageID); err != nil; _, err = os.Stat(m.MessageID) {
					time.Sleep(5 * time.Millisecond) // until the test has made this file
				}
			}
			if m.Category == "panic" {
				panic("boom")
			}
			if m.Category != "echo" {
				return nil
			}
			_, err := tx.Send(sdk.Downstream{To: sdk.Token(m.From), Data: m.Data})
			return err
		},
		Start: func(_ context.Context, h *sdk.Host) error {
			host = h
			h.Log().Debug("hidden at info")
			h.Log().Info("started", "sessions", h.Sessions())
			log.Print("[WARN] by Go's own log")
			_, _ = fmt.Fprintln(os.Stderr, "straight to stderr") // go-plugin's connection would lose it at the exit
			return nil
		},
	})
}

// spawn starts this binary as a plugin, by go-plugin and with mTLS.
func spawn(t testing.TB, stderr io.Writer) (*plugin.Client, *wire.Client) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return spawnAs(t, exec.Command(self), stderr)
}

func spawnAs(t testing.TB, cmd *exec.Cmd, stderr io.Writer) (*plugin.Client, *wire.Client) {
	process := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: wire.Handshake, VersionedPlugins: wire.Plugins(nil), GRPCDialOptions: wire.DialOptions(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true,
		Cmd: cmd, Logger: quiet, Stderr: stderr,
	})
	t.Cleanup(process.Kill)
	rpc, err := process.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rpc.Dispense(wire.Name)
	if err != nil {
		t.Fatal(err)
	}
	return process, raw.(*wire.Client)
}

// A plugin as a real process: from the handshake to its end.
func TestProcess(t *testing.T) {
	var stderr bytes.Buffer
	process, client := spawn(t, &stderr)
	m, err := client.Describe(t.Context(), &wire.DescribeRequest{})
	if err != nil || wire.CheckManifest("probe", m) != nil || m.Order != "none" || !m.Upstream || m.Outcome || len(m.Capabilities) != 0 {
		t.Fatalf("%v, %v", m, err)
	}
	m, err = client.Describe(t.Context(), &wire.DescribeRequest{Capabilities: append(wire.HostCapabilities(), "levitation")})
	if err != nil || len(m.Capabilities) != 1 || m.Capabilities[0] != wire.Offsets {
		t.Fatalf("%v, %v: want the capabilities of both", m, err)
	}
	l := listen(context.Background(), t, client)
	if err := client.Configure(t.Context(), &wire.ConfigureRequest{LogLevel: "info", Sessions: []string{"main"}}); err != nil {
		t.Fatal(err)
	}
	big := []byte(`{"k":"` + strings.Repeat("x", 3000) + `"}`)
	l.session.Send(&wire.HostFrame{Deliver: []*wire.Delivery{{Delivery: 1, Attempt: 1, Event: &wire.Delivery_Upstream{
		Upstream: &wire.Upstream{Id: "e", Device: "tok", Category: "echo", Data: big, Raw: bytes.Repeat([]byte(" "), 5<<20)}}}}}) // gRPC's own limit is 4 MiB
	r := l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 1 }).Result[0]
	if sends := r.GetChanges().GetSend(); r.Code != wire.Result_DONE || len(sends) != 1 || !bytes.Equal(sends[0].Data, big) || sends[0].MessageId != "e-1" {
		t.Errorf("%v", r)
	}
	l.session.Send(&wire.HostFrame{Deliver: []*wire.Delivery{{Delivery: 2, Attempt: 1, Event: &wire.Delivery_Upstream{
		Upstream: &wire.Upstream{Id: "01-ours", Device: "tok", Category: "panic", MessageId: "theirs"}}}}})
	l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 1 })
	l.session.Send(&wire.HostFrame{Drain: &wire.Drain{TimeoutMs: 10_000}})
	l.until(func(f *wire.PluginFrame) bool { return f.Drained })
	if err := <-l.closed; err != nil {
		t.Errorf("end of the session: %v", err)
	}
	began := time.Now()
	process.Kill()
	if took := time.Since(began); took > 1500*time.Millisecond { // 2 s is go-plugin's kill -9
		t.Errorf("the plugin did not end by itself: %v", took)
	}
	for text, want := range map[string]bool{`"@message":"started"`: true, "hidden": false, "straight to stderr": true, `"id":"01-ours"`: true, `"msg_id":"theirs"`: true, `"@level":"warn","@message":"by Go's own log"`: true} {
		if strings.Contains(stderr.String(), text) != want {
			t.Errorf("%s is in the log: %v, in:\n%s", text, !want, &stderr)
		}
	}
}

// P10: handlers go on when the host does not read the plugin's log. When it reads
// again, a line says how many lines are missing.
func TestLogThatNobodyReads(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "stderr")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	_, client := spawnAs(t, exec.Command("sh", "-c", `exec "$0" 2>"$1"`, self, fifo), io.Discard)
	l := listen(context.Background(), t, client)
	if err := client.Configure(t.Context(), &wire.ConfigureRequest{LogLevel: "info"}); err != nil {
		t.Fatal(err)
	}
	l.session.Send(&wire.HostFrame{Deliver: []*wire.Delivery{{Delivery: 1, Attempt: 1, TimeoutMs: 60_000, Event: &wire.Delivery_Upstream{
		Upstream: &wire.Upstream{Id: "e", Device: "tok", Category: "flood"}}}}})
	l.until(func(f *wire.PluginFrame) bool { return len(f.Done) == 1 })
	if err := pipe.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(pipe); !strings.Contains(lines.Text(), "lines dropped: the host did not read them"); {
		if !lines.Scan() {
			t.Fatalf("nothing told of missing lines: %v", lines.Err())
		}
	}
}

// Signals that a service manager or a terminal sends to all processes stop no
// handler. The plugin ends when its host says so, or when the host has gone.
func TestSignals(t *testing.T) {
	t.Parallel()
	var stderr buffer
	process, client := spawn(t, &stderr)
	ctx, cut := context.WithCancel(t.Context())
	pid := process.ReattachConfig().Pid
	all := func() {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
			if err := syscall.Kill(pid, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	all() // while it starts
	l := listen(ctx, t, client)
	if err := client.Configure(t.Context(), &wire.ConfigureRequest{LogLevel: "debug", Sessions: []string{"main"}}); err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/go on"
	l.session.Send(&wire.HostFrame{Deliver: []*wire.Delivery{{Delivery: 1, Attempt: 1, Event: &wire.Delivery_Upstream{
		Upstream: &wire.Upstream{Id: "e", Device: "tok", Category: "slow", MessageId: file, Data: []byte("{}"), Raw: []byte("{}")}}}}})
	said := func(text string) {
		t.Helper()
		for late := time.Now().Add(time.Minute); !strings.Contains(stderr.String(), text); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("%q is not in the log:\n%s", text, stderr.String())
			}
		}
	}
	said("begins")
	all()
	said("signal ignored")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.until(func(f *wire.PluginFrame) bool { return len(f.Done) == 1 || len(f.Result) == 1 })
	cut() // the host is gone
	began := time.Now()
	for late := began.Add(time.Minute); !process.Exited(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("still there")
		}
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	}
	said("signal without a connection to the host: exiting")
}

// A signal that comes after the connection has ended is expected, also from others
// than the host: nothing is logged at warn.
func TestSignalAtTheEnd(t *testing.T) {
	t.Parallel()
	var stderr buffer
	process, client := spawn(t, &stderr)
	l := listen(context.Background(), t, client)
	if err := client.Configure(t.Context(), &wire.ConfigureRequest{LogLevel: "debug", Sessions: []string{"main"}}); err != nil {
		t.Fatal(err)
	}
	l.session.Send(&wire.HostFrame{Drain: &wire.Drain{TimeoutMs: 10_000}})
	if err := <-l.closed; err != nil {
		t.Errorf("end of the session: %v", err)
	}
	for late := time.Now().Add(time.Minute); !process.Exited(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("still there")
		}
		_ = syscall.Kill(process.ReattachConfig().Pid, syscall.SIGTERM) // it may have ended
	}
	if text := stderr.String(); strings.Count(text, `"@level":"warn"`) != 1 || !strings.Contains(text, `"@level":"warn","@message":"by Go's own log"`) {
		t.Errorf("there is a warning:\n%s", text)
	}
}

// buffer can be read while it is written.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A plugin whose host has gone ends by itself.
func TestOrphanEnds(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	process, client := spawn(t, &stderr)
	ctx, cut := context.WithCancel(t.Context())
	l := listen(ctx, t, client)
	l.until(func(f *wire.PluginFrame) bool { return f.Credit > 0 })
	cut()
	for late := time.Now().Add(time.Minute); !process.Exited(); {
		if time.Now().After(late) {
			t.Fatal("still there")
		}
		time.Sleep(20 * time.Millisecond) // go-plugin has no channel for it
	}
}

func TestStartedByHand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "SDK_TEST_PLUGIN=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "plugins/probe") {
		t.Errorf("%v: %s", err, out)
	}
}

// BenchmarkProcess measures a message's way to a plugin process and its result's way
// back: the CPU time of both sides per message, with 256 in flight and payloads of
// 300 bytes.
func BenchmarkProcess(b *testing.B) {
	for _, category := range []string{"ack", "echo"} {
		b.Run(category, func(b *testing.B) { benchmark(b, category) })
	}
}

func benchmark(b *testing.B, category string) {
	var stderr bytes.Buffer
	process, client := spawn(b, &stderr)
	data := []byte(`{"k":"` + strings.Repeat("x", 200) + `"}`)
	payload := fmt.Appendf(nil, `{"from":"%s","category":"com.example.echo","message_id":"42","data":%s}`, strings.Repeat("t", 30), data)
	feed := &feeder{over: make(chan struct{}), category: category, data: data, payload: payload, room: 256}
	var err error
	if feed.session, err = client.Open(context.Background()); err != nil {
		b.Fatal(err)
	}
	go func() { _ = feed.session.Run(feed.hear) }()
	if err := client.Configure(b.Context(), &wire.ConfigureRequest{LogLevel: "info", Sessions: []string{"main"}}); err != nil {
		b.Fatal(err)
	}
	pid := process.ReattachConfig().Pid
	feed.total.Store(int64(b.N))
	hostCPU, pluginCPU := ownCPU(), cpuOf(b, pid)
	b.ResetTimer()
	feed.more(256)
	<-feed.over
	b.StopTimer()
	b.ReportMetric(float64((ownCPU()-hostCPU).Nanoseconds())/float64(b.N), "host-ns/op")
	b.ReportMetric(float64((cpuOf(b, pid)-pluginCPU).Nanoseconds())/float64(b.N), "plugin-ns/op")
	b.ReportMetric(float64(b.N)/float64(feed.frames), "msg/frame")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// feeder keeps room deliveries in flight until total have been settled.
type feeder struct {
	session       *wire.HostStream
	over          chan struct{}
	category      string
	data, payload []byte
	room          int
	total         atomic.Int64
	mu            sync.Mutex // guards next and settled
	next, settled int64
	frames        int64
}

func (f *feeder) more(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	frame := &wire.HostFrame{}
	for ; n > 0 && f.next < f.total.Load(); n-- {
		f.next++
		frame.Deliver = append(frame.Deliver, &wire.Delivery{Delivery: uint64(f.next), Attempt: 1, TimeoutMs: 30_000,
			Event: &wire.Delivery_Upstream{Upstream: wire.UpstreamToProto(&sdk.Upstream{
				ID: "01JADQ3Z5X8W9Y7V6T5S4R3Q2P", Session: "main", From: "token-of-a-device", Category: f.category, MessageID: "42",
				Data: f.data, Raw: f.payload, Received: time.UnixMilli(1700000000000),
			})}})
	}
	if len(frame.Deliver) > 0 {
		f.session.Send(frame)
	}
}

func (f *feeder) hear(p *wire.PluginFrame) {
	n := len(p.Done) + len(p.Result)
	if n == 0 {
		return
	}
	f.settled += int64(n)
	f.frames++
	if f.settled == f.total.Load() {
		close(f.over)
	}
	f.more(n)
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf reads a process's user and system time, in ticks of 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("no /proc here: CPU of the plugin can't be read")
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
