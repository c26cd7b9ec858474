package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// Connect serves p in this process and connects to it over gRPC in memory. It is for
// tests that read and write frames themselves. stop ends both sides at once, as a
// kill does.
func Connect(p sdk.Plugin, log hclog.Logger) (client *wire.Client, stop func(), err error) {
	service, err := sdk.NewServer(p, log, nil)
	if err != nil {
		return nil, nil, err
	}
	listener := bufconn.Listen(256 << 10)
	server := wire.NewServer(nil)
	wire.Register(server, service)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // returns nil after Stop
	conn, err := grpc.NewClient("passthrough:///plugin", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		server.Stop()
		serving.Wait()
		return nil, nil, fmt.Errorf("connect to plugin: %w", err)
	}
	return wire.NewClient(conn), func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
	}, nil
}

// instance stands for one process of the plugin.
type instance struct {
	client  *wire.Client
	session *wire.HostStream
	store   *store
	cut     func() // ends the instance at once, and waits for its end
	drained chan struct{}

	mu     sync.Mutex // guards what follows
	last   uint64
	out    map[uint64]chan<- *wire.Result // deliveries without a result
	closed bool
}

func openInstance(ctx context.Context, p sdk.Plugin, log hclog.Logger, st *store, c *wire.ConfigureRequest) (*instance, error) {
	client, stop, err := Connect(p, log)
	if err != nil {
		return nil, err
	}
	if _, err := client.Describe(ctx, &wire.DescribeRequest{HostVersion: "plugintest", Capabilities: wire.HostCapabilities()}); err != nil {
		stop()
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	in := &instance{client: client, store: st, drained: make(chan struct{}), out: map[uint64]chan<- *wire.Result{}}
	if in.session, err = client.Open(life); err != nil {
		end()
		stop()
		return nil, err
	}
	var hearing sync.WaitGroup
	hearing.Go(func() {
		_ = in.session.Run(in.hear) // drain and deliver find out by themselves
		in.over()
	})
	in.cut = func() {
		end()
		stop()
		hearing.Wait()
	}
	if err := client.Configure(ctx, c); err != nil {
		in.cut()
		return nil, err
	}
	return in, nil
}

// deliver gives an event to the plugin and waits for the result. r is nil if the
// instance has ended. returned is false if there was no result within limit; a later
// one is ignored.
func (in *instance) deliver(d *wire.Delivery, limit time.Duration) (r *wire.Result, returned bool) {
	result := make(chan *wire.Result, 1)
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return nil, true
	}
	in.last++
	out := &wire.Delivery{Delivery: in.last, Attempt: d.Attempt, TimeoutMs: d.TimeoutMs, Event: d.Event}
	in.out[out.Delivery] = result
	in.mu.Unlock()
	in.session.Send(&wire.HostFrame{Deliver: []*wire.Delivery{out}})
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case r := <-result:
		return r, true
	case <-late.C:
		in.finish(&wire.Result{Delivery: out.Delivery}) // nobody waits any more
		return nil, false
	}
}

func (in *instance) finish(r *wire.Result) {
	in.mu.Lock()
	waiting := in.out[r.Delivery]
	delete(in.out, r.Delivery)
	in.mu.Unlock()
	if waiting != nil {
		waiting <- r
	}
}

// drain stops the plugin and waits for its handlers.
func (in *instance) drain() error {
	in.session.Send(&wire.HostFrame{Drain: &wire.Drain{Reason: "plugintest", TimeoutMs: uint32(patience.Milliseconds())}})
	var err error
	select {
	case <-in.drained:
	case <-time.After(patience):
		err = fmt.Errorf("the plugin has not drained within %v", patience)
	}
	in.session.Close()
	in.cut()
	return err
}

// hear takes a frame of the plugin.
func (in *instance) hear(f *wire.PluginFrame) {
	for _, id := range f.Done {
		in.finish(&wire.Result{Delivery: id, Code: wire.Result_DONE})
	}
	for _, r := range f.Result {
		in.finish(r)
	}
	for _, c := range f.Call {
		in.session.Send(&wire.HostFrame{Reply: []*wire.Reply{in.store.answer(c)}})
	}
	if f.Drained {
		close(in.drained)
	}
}

// over ends what waits for results: the session has ended.
func (in *instance) over() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for id, waiting := range in.out {
		waiting <- nil
		delete(in.out, id)
	}
}

// testLog writes log lines to the test's log, until the test ends.
type testLog struct {
	mu sync.Mutex
	t  testing.TB
}

func logTo(t testing.TB) *testLog {
	l := &testLog{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.t = nil
	})
	return l
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return 0, errors.New("the test has ended")
	}
	l.t.Logf("%s", b)
	return len(b), nil
}
