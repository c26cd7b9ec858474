package pluginhost

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/wire"
)

// TestMain makes this binary three programs: a plugin when a host starts it, a
// host for the tests that kill one, and the tests.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(wire.Handshake.MagicCookieKey) != "":
		servePlugin(ownName())
		syscall.Exit(0) // past the race detector's goodbye, which takes a second of each plugin's end
	case os.Getenv("PLUGINHOST_TEST_HOST") != "":
		serveHost(os.Getenv("PLUGINHOST_TEST_HOST"))
	default:
		os.Exit(m.Run())
	}
}

// ownName is its argument, or the store's in which a staged copy lies:
// <data>/plugins/<name>/<sha256>, of a folder <sha256>/plugin.
func ownName() string {
	if len(os.Args) > 1 {
		return os.Args[1]
	}
	copy := os.Args[0]
	if filepath.Base(copy) == "plugin" {
		copy = filepath.Dir(copy)
	}
	return filepath.Base(filepath.Dir(copy))
}

// servePlugin is a plugin that does what its name says; any other name is a good one.
func servePlugin(name string) {
	p := &testPlugin{name: name, variant: variant()}
	switch p.variant {
	case "exit":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	case "kill":
		signalSelf(syscall.SIGKILL)
	case "garbage":
		fmt.Println("1|hello")
	}
	switch name {
	case "exits":
		fmt.Fprintln(os.Stderr, "no licence found")
		os.Exit(3)
	case "segfaults": // as a cut-off binary does; Go's runtime would catch a real one
		signalSelf(syscall.SIGKILL)
	case "preamble":
		fmt.Println("loading modules\n2 modules loaded")
	case "loud":
		p.start = loud
	case "liar":
		p.name = "somebody"
	}
	if strings.HasPrefix(name, "handmade") {
		serveByHand(p)
		return
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: wire.Plugins(p),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			opts = append(opts, grpc.UnaryInterceptor(p.unary))
			if name == "flooder" { // it doesn't know the limit
				return grpc.NewServer(opts...)
			}
			return wire.NewServer(opts)
		},
	})
	switch name {
	case "stubborn":
		for {
			time.Sleep(time.Hour)
		}
	case "tidy": // what its main does at the end takes a moment
		time.Sleep(time.Second)
		fmt.Fprintln(realStderr, "all is tidied up")
	}
}

// testPlugin speaks the wire without the sdk, so that it can do wrong.
type testPlugin struct {
	wire.UnimplementedPluginServer
	name    string
	variant string // what the content's end says
	start   func()
	level   string

	described  *wire.DescribeRequest
	configured *wire.ConfigureRequest
}

// variant is what stands behind "variant=" at the end of this program's file.
func variant() string {
	f, err := os.Open(os.Args[0])
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	tail := make([]byte, 64)
	if _, err := f.Seek(-int64(len(tail)), io.SeekEnd); err != nil {
		return err.Error()
	}
	n, _ := io.ReadFull(f, tail)
	_, v, _ := strings.Cut(string(tail[:n]), "variant=")
	return v
}

func (p *testPlugin) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	switch {
	case p.name == "no-controller" && strings.HasSuffix(info.FullMethod, "/Shutdown"):
		return nil, status.Error(codes.Unimplemented, "no such service")
	case p.name == "stranger" && strings.HasSuffix(info.FullMethod, "/Describe"):
		return nil, status.Error(codes.Unimplemented, "no such service")
	case p.name == "sick" && strings.HasSuffix(info.FullMethod, "/Check"):
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
	case p.name == "unwell" && strings.HasSuffix(info.FullMethod, "/Check"):
		select {}
	}
	return next(ctx, req)
}

func (p *testPlugin) Describe(_ context.Context, r *wire.DescribeRequest) (*wire.Manifest, error) {
	p.described = r
	if p.name == "dies-described" {
		signalSelf(syscall.SIGKILL)
	}
	m := &wire.Manifest{Name: p.name, Version: "1.2", Categories: []string{"com.example." + p.name}, Order: "device", Upstream: p.name != "deedless"}
	if p.name == "mute" {
		m.Upstream, m.Categories = false, nil
	}
	if p.name == "greedy" {
		for n := range 1000 {
			m.Categories = append(m.Categories, fmt.Sprint("com.example.n", n))
		}
	}
	return m, nil
}

func (p *testPlugin) Configure(_ context.Context, r *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	p.level, p.configured = r.LogLevel, r
	switch {
	case p.variant == "refuse":
		return &wire.ConfigureReply{Error: "greeting must not be empty"}, nil
	case p.variant == "die":
		signalSelf(syscall.SIGKILL)
	case p.name == "hangs-configure":
		fmt.Fprintln(realStderr, `{"@level":"info","@message":"waiting for the database"}`)
		select {}
	case p.variant == "hang":
		select {}
	case strings.Contains(string(r.Config), "refuse"):
		return &wire.ConfigureReply{Error: "greeting must not be empty\nat all"}, nil
	case strings.Contains(string(r.Config), "die"):
		os.Exit(4)
	}
	if p.start != nil {
		p.start()
	}
	return &wire.ConfigureReply{}, nil
}

// Session does what the host's replies name, and answers with a call that holds
// what it found out. A delivery is done at once.
func (p *testPlugin) Session(rpc grpc.BidiStreamingServer[wire.HostFrame, wire.PluginFrame]) error {
	say := func(s string) { _ = rpc.Send(&wire.PluginFrame{Call: []*wire.Call{{Op: &wire.Call_Get{Get: s}}}}) }
	say("hello")
	for {
		f, err := rpc.Recv()
		if err != nil {
			return err
		}
		if f.Ping != 0 && p.name != "deaf" {
			_ = rpc.Send(&wire.PluginFrame{Pong: f.Ping})
		}
		if f.Run {
			say("run")
		}
		if f.LogLevel != "" {
			p.level = f.LogLevel
			say("level " + f.LogLevel)
		}
		if f.Drain != nil {
			_ = rpc.Send(&wire.PluginFrame{Drained: true})
			return nil
		}
		for _, d := range f.Deliver {
			_ = rpc.Send(&wire.PluginFrame{Done: []uint64{d.Delivery}})
		}
		for _, r := range f.Reply {
			if r.Error == "leave" {
				return nil
			}
			p.obey(r.Error, say, rpc)
		}
	}
}

func (p *testPlugin) obey(order string, say func(string), rpc grpc.BidiStreamingServer[wire.HostFrame, wire.PluginFrame]) {
	answer := func(s string) { say(order + "=" + s) }
	switch order {
	case "exit":
		os.Exit(7)
	case "run-fails":
		_ = rpc.Send(&wire.PluginFrame{RunFailure: &wire.RunFailure{Failures: 7, Error: "no feed", WaitMs: 4000}})
	case "kill":
		signalSelf(syscall.SIGKILL)
	case "stop":
		signalSelf(syscall.SIGSTOP)
	case "panic":
		go func() { panic("out of luck") }()
	case "flood":
		_ = rpc.Send(&wire.PluginFrame{Call: []*wire.Call{{Op: &wire.Call_Get{Get: strings.Repeat("x", 9<<20)}}}})
	case "chatter": // and dies in the middle of it
		for range 100 {
			say("last words")
		}
		signalSelf(syscall.SIGKILL)
	case "limits":
		text, _ := os.ReadFile("/proc/self/limits")
		score, _ := os.ReadFile("/proc/self/oom_score_adj")
		answer(string(text) + "oom_score_adj " + string(score))
	case "grow": // by 200 MiB, that are used
		hoard = make([]byte, 200<<20)
		for i := 0; i < len(hoard); i += 4096 {
			hoard[i] = 1
		}
		answer("grown")
	case "raise": // a child that grows
		cmd := exec.Command("sh", "-c", `x=$(head -c 200000000 /dev/zero | tr "\0" x); sleep 600`)
		if err := cmd.Start(); err != nil {
			answer(err.Error())
		}
	case "print":
		for n := range 500 {
			fmt.Fprintln(realStderr, `{"@level":"debug","@message":"debug line"}`)
			fmt.Fprintf(realStderr, "plain line %d\n", n)
		}
		answer("printed")
	case "environ":
		answer(strings.Join(os.Environ(), "\n"))
	case "pid":
		answer(fmt.Sprint(os.Getpid()))
	case "stdin":
		in, err := io.ReadAll(os.Stdin)
		answer(fmt.Sprintf("read %d bytes, %v", len(in), err))
	case "level":
		answer(p.level)
	case "told at Describe":
		answer(hexOf(p.described))
	case "told at Configure":
		answer(hexOf(p.configured))
	case "desert": // our process group, for a child's
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err == nil {
			err = syscall.Setpgid(0, cmd.Process.Pid)
			answer(fmt.Sprint(err))
		}
	case "where":
		dir, _ := os.Getwd()
		answer(dir)
	case "child", "orphan", "stranger", "hidden": // each keeps our pipes, and gives up more of the rest
		cmd := exec.Command("sleep", "600")
		cmd.Stdout, cmd.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: order != "child"}
		if order == "stranger" || order == "hidden" {
			cmd.Env = []string{"PATH=/bin"}
		}
		if order == "hidden" {
			cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{os.NewFile(2, "stderr")}, nil, nil
		}
		if err := cmd.Start(); err != nil {
			answer(err.Error())
			return
		}
		answer(fmt.Sprint(cmd.Process.Pid))
	}
}

func hexOf(m proto.Message) string {
	b, err := proto.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(b)
}

var hoard []byte

// realStderr isn't go-plugin's. It is never closed, as a forgotten os.File is.
var realStderr = os.NewFile(2, "stderr")

// signalSelf is for SIGKILL, after which nothing happens, and SIGSTOP, after
// which it may go on.
func signalSelf(sig syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), sig)
	for sig == syscall.SIGKILL {
		time.Sleep(time.Hour)
	}
}

// loud writes to its real stdout and stderr what hosts have stumbled over.
func loud() {
	out, errs := os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
	fmt.Fprintln(errs, `{"@message":5}`)
	fmt.Fprintln(errs, `{"@level":["x"],"@message":"odd","@timestamp":{}}`)
	fmt.Fprintln(errs, `{"@level":"warn","@message":"disk slow","took":"3s","n":4}`)
	fmt.Fprintln(errs, "low on \x1b[31mmemory")
	fmt.Fprintln(errs, "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: no")
	fmt.Fprintln(errs, "after the trace")
	fmt.Fprintln(out, "raw on stdout")
	fmt.Fprintln(os.Stdout, "synced on stdout")
	fmt.Fprintln(out, strings.Repeat("y", 1<<20))
	fmt.Fprintln(errs, strings.Repeat("z", 1<<20))
	fmt.Fprintln(errs, "end of noise")
}

// serveHost is a host on DIR/plugins for tests that kill it. It prints "ready PID"
// for every plugin.
func serveHost(dir string) {
	h := New(Options{
		Dir: filepath.Join(dir, "plugins"), DataDir: filepath.Join(dir, "data"), Dispatcher: printer{},
	})
	if err := h.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// printer is a Dispatcher that prints, and takes what a process tells it.
type printer struct{ pid int }

func (printer) Described(_ instance.Facts, p instance.Process) instance.Dispatch {
	return printer{p.(*life).process.PID()}
}
func (p printer) Ready()                                       { fmt.Println("ready", p.pid) }
func (printer) Frame(*wire.PluginFrame)                        {}
func (printer) Drain(context.Context) error                    { return nil }
func (printer) Gone(string)                                    {}
func (printer) Results(context.Context) (entry.Results, error) { return entry.Results{}, nil }
func (printer) Removed(string)                                 {}
func (printer) Booted()                                        {}
