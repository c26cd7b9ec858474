package plugincheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"balhost/sdk/wire"
)

// The test's own program is a plugin too, written by hand on gRPC, as one in another
// language is: right in all, but for the fault whose name stands in faultVariable.

const faultVariable = "PLUGINCHECK_FAULT"

func TestMain(m *testing.M) {
	if fault := os.Getenv(faultVariable); fault != "" {
		(&faulty{fault: fault, opened: make(chan struct{})}).serve()
		return
	}
	os.Exit(m.Run())
}

// faulty is the plugin.
type faulty struct {
	wire.UnimplementedPluginServer
	fault  string
	opened chan struct{} // closed when Session is open
	limits *wire.Limits
	count  atomic.Int64 // events

	mu         sync.Mutex // guards what follows, and stdout
	sessions   int
	configured bool
	described  int
	level      string
	over       bool
}

func (p *faulty) has(faults ...string) bool { return slices.Contains(faults, p.fault) }

func (p *faulty) serve() {
	if os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		p.byHand()
	}
	signals := make(chan os.Signal, 8)
	if !p.has("dies of signals") {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	}
	switch p.fault {
	case "garbage before the line":
		fmt.Print(strings.Repeat("Loading…\n", 25))
	case "a banner before the line":
		fmt.Println("Loading…")
	case "no line":
		os.Exit(1)
	case "another protocol":
		fmt.Printf("1|1|unix|/x|grpc\n")
		time.Sleep(time.Hour)
	case "a child that lives on":
		child := exec.Command("sleep", "1000")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	socket := filepath.Join(os.Getenv(wire.SocketDirVariable), "plugin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(p.serverOptions()...)
	wire.Register(server, p)
	well := health.NewServer()
	if !p.has("not well") {
		well.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	}
	grpc_health_v1.RegisterHealthServer(server, well)
	go p.obey(signals)
	fmt.Printf("1|%d|unix|%s|grpc\n", wire.Version, socket)
	_ = server.Serve(listener)
}

func (p *faulty) byHand() {
	switch p.fault {
	case "by hand status 0":
		os.Exit(0)
	case "by hand it runs on":
		time.Sleep(time.Hour)
	case "by hand no hint":
		os.Exit(3)
	case "by hand a stack trace":
		panic("no socket")
	}
	fmt.Fprintln(os.Stderr, "this is a plugin of balhost: put it into the plugins folder")
	os.Exit(3)
}

// obey ends the process at a signal, unless Session is open: it has no Shutdown.
func (p *faulty) obey(signals chan os.Signal) {
	for s := range signals {
		p.mu.Lock()
		over := p.sessions == 0 || p.over
		p.mu.Unlock()
		switch {
		case !over:
		case p.has("exits slowly") && s == syscall.SIGTERM:
			time.Sleep(time.Hour)
		case p.has("exits with a status"):
			os.Exit(3)
		default:
			os.Exit(0)
		}
	}
}

func (p *faulty) serverOptions() []grpc.ServerOption {
	size := 16 << 20
	if p.has("small messages only") {
		size = 4 << 20
	}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(size)}
	config, err := wire.ServerTLS()
	if err != nil {
		panic(err)
	}
	switch p.fault {
	case "no TLS":
		return options
	case "any client certificate":
		config.ClientAuth, config.ClientCAs = tls.RequireAnyClientCert, nil
	case "no client certificate":
		config.ClientAuth, config.ClientCAs = tls.NoClientCert, nil
	case "another certificate":
		stranger, err := strangerCertificate()
		if err != nil {
			panic(err)
		}
		config.Certificates = stranger
	}
	return append(options, grpc.Creds(credentials.NewTLS(config)))
}

func (p *faulty) Describe(_ context.Context, r *wire.DescribeRequest) (*wire.Manifest, error) {
	p.dieOfUnknown(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.described++
	m := &wire.Manifest{
		Name: filepath.Base(os.Getenv("PLUGINCHECK_NAME")), Version: "1.0.0", Categories: []string{"com.example.check"},
		Upstream: true, Outcome: true, Receipt: true, Timer: true, Capabilities: wire.Common([]string{wire.Offsets, wire.Metrics}, r.GetCapabilities()),
	}
	switch p.fault {
	case "another name":
		m.Name = "somebody"
	case "another manifest each time":
		m.Version = fmt.Sprint(p.described)
	case "a capability too many":
		m.Capabilities = r.GetCapabilities()
	}
	return m, nil
}

func (p *faulty) dieOfUnknown(m proto.Message) {
	if p.has("dies of unknown fields") && len(m.ProtoReflect().GetUnknown()) > 0 {
		os.Exit(4)
	}
}

func (p *faulty) Configure(_ context.Context, r *wire.ConfigureRequest) (*wire.ConfigureReply, error) {
	p.dieOfUnknown(r)
	<-p.opened
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.configured && !p.has("a second Configure") {
		return nil, status.Error(codes.FailedPrecondition, "configured before")
	}
	p.configured, p.limits, p.level = true, r.Limits, r.LogLevel
	var config struct{}
	known := json.NewDecoder(strings.NewReader(string(r.Config) + " "))
	known.DisallowUnknownFields()
	if err := known.Decode(&config); err != nil && !errors.Is(err, io.EOF) {
		switch p.fault {
		case "takes any config":
		case "dies of a bad config":
			os.Exit(5)
		default:
			return &wire.ConfigureReply{Error: err.Error()}, nil
		}
	}
	switch p.fault {
	case "refuses the config":
		return &wire.ConfigureReply{Error: "no"}, nil
	case "Configure fails":
		return nil, status.Error(codes.Internal, "no")
	}
	return &wire.ConfigureReply{}, nil
}

func (p *faulty) Session(rpc wire.Plugin_SessionServer) error {
	p.mu.Lock()
	p.sessions++
	again := p.sessions > 1
	p.mu.Unlock()
	if again {
		if p.has("a second Session") {
			<-rpc.Context().Done()
			return nil
		}
		return status.Error(codes.FailedPrecondition, "there is a session")
	}
	rpc.SetHeader(metadata.MD{})
	s := &faultySession{faulty: p, rpc: rpc, running: map[uint64]*faultyHandler{}, replies: map[uint64]chan *wire.Reply{}, ended: map[uint64]bool{}}
	s.send(&wire.PluginFrame{Credit: 256})
	if p.has("run fails") {
		s.send(&wire.PluginFrame{RunFailure: &wire.RunFailure{Failures: 2, Error: "no"}})
	}
	close(p.opened)
	err := s.serve()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	return err
}

// Metrics counts events.
func (p *faulty) Metrics(context.Context) ([]byte, error) {
	switch p.fault {
	case "metrics fail":
		return nil, errors.New("no database")
	case "metrics are no text":
		return []byte("events: many"), nil
	case "a metric of the host's":
		return []byte("go_goroutines 1\n"), nil
	case "metrics come late":
		time.Sleep(scrapeWithin + scrapeWithin/5)
	}
	n := p.count.Load()
	if !p.has("a series for each event") {
		return fmt.Appendf(nil, "# TYPE events_total counter\nevents_total %d\n", n), nil
	}
	var text bytes.Buffer
	for i := range n * 3 {
		fmt.Fprintf(&text, "event{n=\"%d\"} 1\n", i)
	}
	return text.Bytes(), nil
}

// log writes a line, if the level wants it.
func (p *faulty) log(level, text string) {
	levels := []string{"trace", "debug", "info", "warn", "error"}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Index(levels, level) >= slices.Index(levels, p.level) || p.has("logs below the level") {
		fmt.Fprintf(os.Stderr, "{\"@level\":%q,\"@message\":%q}\n", level, text)
	}
}

// faultyFor are the options of a check of the plugin with a fault. It answers at once, so
// that the load can be small; a busy machine meets the times.
func faultyFor(t *testing.T, fault string) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "faulty")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Path: path, Messages: 1000, Drain: 2 * time.Second, Extend: 5 * time.Second,
		Data: []json.RawMessage{json.RawMessage(`{"text":"hi","tag":"x"}`)},
	}
	o.Plugin.StartTimeout = 20 * time.Second
	o.Plugin.Env = map[string]string{faultVariable: fault, "PLUGINCHECK_NAME": path}
	return o
}
