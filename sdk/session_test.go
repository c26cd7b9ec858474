package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
)

// line is the host's end of a session, frame by frame.
type line struct {
	t       *testing.T
	client  *wire.Client
	session *wire.HostStream
	frames  chan *wire.PluginFrame
	closed  chan error    // gets why the session has ended
	over    chan struct{} // closed when it has
}

// listen opens the session of client, which the end of ctx cuts.
func listen(ctx context.Context, t *testing.T, client *wire.Client) *line {
	t.Helper()
	l := &line{t: t, client: client, frames: make(chan *wire.PluginFrame, 1000), closed: make(chan error, 1), over: make(chan struct{})}
	var err error
	if l.session, err = client.Open(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.over)
		l.closed <- l.session.Run(func(f *wire.PluginFrame) { l.frames <- f })
	}()
	return l
}

// dial starts p and opens its session. It works inside a synctest bubble too.
func dial(t *testing.T, p sdk.Plugin, log hclog.Logger) *line {
	t.Helper()
	client, stop, err := plugintest.Connect(p, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := listen(ctx, t, client)
	t.Cleanup(func() { cancel(); stop(); <-l.over })
	l.until(func(f *wire.PluginFrame) bool { return f.Credit > 0 })
	if err := client.Configure(ctx, &wire.ConfigureRequest{Sessions: []string{"main"}, Former: []string{"oldest"}}); err != nil {
		t.Fatal(err)
	}
	return l
}

// until reads frames up to one that is as expected, and returns all of them as one.
func (l *line) until(expected func(all *wire.PluginFrame) bool) *wire.PluginFrame {
	l.t.Helper()
	all := &wire.PluginFrame{}
	late := time.After(30 * time.Second)
	for !expected(all) {
		select {
		case f := <-l.frames:
			all.Done = append(all.Done, f.Done...)
			all.Result = append(all.Result, f.Result...)
			all.Extend = append(all.Extend, f.Extend...)
			all.Call = append(all.Call, f.Call...)
			all.Credit += f.Credit
			all.Drained = all.Drained || f.Drained
			if f.RunFailure != nil {
				all.RunFailure = f.RunFailure
			}
		case <-late:
			l.t.Fatalf("waited in vain; got %v", all)
		}
	}
	return all
}

func (l *line) deliver(ids ...uint64) {
	f := &wire.HostFrame{}
	for _, id := range ids {
		f.Deliver = append(f.Deliver, &wire.Delivery{
			Delivery: id, Attempt: 1, TimeoutMs: 60_000,
			Event: &wire.Delivery_Upstream{Upstream: &wire.Upstream{Id: fmt.Sprint("e", id), MessageId: fmt.Sprint(id)}},
		})
	}
	l.session.Send(f)
}

var quiet = hclog.NewNullLogger()

// A plugin whose handlers are all stuck still answers a ping, so the host sees that
// the process lives.
func TestPingBesideStuckHandlers(t *testing.T) {
	release := make(chan struct{})
	p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { <-release; return nil })
	p.MaxInFlight = 2
	l := dial(t, p, quiet)
	l.deliver(1, 2, 3)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := l.session.Ping(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	close(release)
	l.until(func(f *wire.PluginFrame) bool { return len(f.Done) == 3 })
}

// No more than MaxInFlight handlers run, even if the host sends more. The rest run
// in the order in which they came.
func TestMoreThanTheCredit(t *testing.T) {
	var running atomic.Int32
	var order []string
	p := with(func(_ context.Context, _ *sdk.Tx, m sdk.Upstream) error {
		if running.Add(1) > 1 {
			t.Error("two at once")
		}
		order = append(order, m.MessageID)
		running.Add(-1)
		return nil
	})
	p.MaxInFlight = 1
	l := dial(t, p, quiet)
	l.deliver(1, 2, 3, 4, 5)
	done := l.until(func(f *wire.PluginFrame) bool { return len(f.Done) == 5 }).Done
	if !slices.Equal(done, []uint64{1, 2, 3, 4, 5}) || !slices.Equal(order, []string{"1", "2", "3", "4", "5"}) {
		t.Errorf("done %v, ran %v", done, order)
	}
}

func TestRevokeEndsTheHandlersContext(t *testing.T) {
	began := make(chan struct{})
	l := dial(t, with(func(ctx context.Context, _ *sdk.Tx, m sdk.Upstream) error {
		close(began)
		<-ctx.Done()
		return fmt.Errorf("%w, because %w", ctx.Err(), context.Cause(ctx))
	}), quiet)
	l.deliver(7)
	<-began
	l.session.Send(&wire.HostFrame{Revoke: []uint64{7, 99}}) // 99 has long ended
	r := l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 1 }).Result[0]
	if r.Delivery != 7 || r.Code != wire.Result_RETRY || !strings.Contains(r.Error, "revoked the event") {
		t.Errorf("%v", r)
	}
}

// Drain: events that have not begun are released, running handlers may finish, and
// Run's ctx ends. Drained comes last, and then the plugin ends the stream.
func TestDrain(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	var stopped atomic.Bool
	p := with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		close(began)
		<-release
		return errors.Join(ctx.Err(), tx.Put("k", 1)) // undisturbed: a result like any other
	})
	p.MaxInFlight = 1
	p.Stop = func(context.Context) error { stopped.Store(true); return nil }
	l := dial(t, p, quiet)
	l.deliver(1, 2, 3)
	<-began
	l.session.Send(&wire.HostFrame{Drain: &wire.Drain{TimeoutMs: 60_000}})
	released := l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 2 })
	for i, r := range released.Result {
		if r.Delivery != uint64(i)+2 || r.Code != wire.Result_RELEASE {
			t.Errorf("waiting delivery: %v", r)
		}
	}
	l.deliver(4)
	if r := l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 1 }).Result[0]; r.Delivery != 4 || r.Code != wire.Result_RELEASE {
		t.Errorf("delivery after the drain: %v", r)
	}
	close(release)
	last := l.until(func(f *wire.PluginFrame) bool { return f.Drained })
	if len(last.Result) != 1 || last.Result[0].Code != wire.Result_DONE || !stopped.Load() {
		t.Errorf("%v, Stop called: %v", last, stopped.Load())
	}
	if err := <-l.closed; err != nil {
		t.Errorf("end of the session: %v", err)
	}
	if err := l.session.Ping(t.Context()); !errors.Is(err, wire.ErrUnavailable) {
		t.Errorf("ping after the end: %v", err)
	}
}

// When the drain's time runs out, a handler that returns at the end of its ctx gives
// the event back, and this counts as no attempt. The plugin does not wait for a
// handler that ignores its ctx: drained still comes.
func TestDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		l := dial(t, with(func(ctx context.Context, _ *sdk.Tx, m sdk.Upstream) error {
			if m.MessageID == "1" {
				<-ctx.Done()
				return ctx.Err()
			}
			<-forever
			return nil
		}), quiet)
		l.deliver(1, 2)
		synctest.Wait()
		began := time.Now()
		l.session.Send(&wire.HostFrame{Drain: &wire.Drain{TimeoutMs: 10_000}})
		all := l.until(func(f *wire.PluginFrame) bool { return f.Drained })
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("drained after %v", took)
		}
		if len(all.Done) != 0 || len(all.Result) != 1 || all.Result[0].Delivery != 1 || all.Result[0].Code != wire.Result_RELEASE {
			t.Errorf("%v", all)
		}
		close(forever)
	})
}

// A running handler is extended at least every 10 s; its ctx ends at its timeout.
func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := dial(t, with(func(ctx context.Context, _ *sdk.Tx, m sdk.Upstream) error {
			<-ctx.Done()
			return ctx.Err()
		}), quiet)
		began := time.Now()
		l.deliver(5)
		for n := 1; n <= 11; n++ {
			f := l.until(func(f *wire.PluginFrame) bool { return len(f.Extend) == 1 })
			if f.Extend[0] != 5 || time.Since(began) > time.Duration(n)*10*time.Second {
				t.Fatalf("extension %d: %v after %v", n, f, time.Since(began))
			}
		}
		r := l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 1 }).Result[0]
		if took := time.Since(began); took != time.Minute || !strings.Contains(r.Error, "timed out") {
			t.Errorf("%v after %v", r, took)
		}
	})
}

// Run waits until the host allows it. It begins again after an error or a panic, but
// not after nil.
func TestRunBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		p := sdk.Plugin{Name: "probe", Run: func(ctx context.Context, h *sdk.Host) error {
			switch runs.Add(1) {
			case 1:
				return errors.New("no connection")
			case 2:
				panic("boom")
			}
			return nil
		}}
		l := dial(t, p, quiet)
		time.Sleep(time.Minute)
		if n := runs.Load(); n != 0 {
			t.Errorf("%d runs before the host's word", n)
		}
		l.session.Send(&wire.HostFrame{Run: true})
		time.Sleep(time.Hour)
		if n := runs.Load(); n != 3 {
			t.Errorf("%d runs, want 3", n)
		}
		for i, want := range []string{"no connection", "panic: boom"} { // the host hears of each
			f := l.until(func(f *wire.PluginFrame) bool { return f.RunFailure != nil }).RunFailure
			if f.Failures != uint32(i+1) || !strings.Contains(f.Error, want) || f.WaitMs < 500 || f.WaitMs > 2000 {
				t.Errorf("failure %d: %v, want %q", i, f, want)
			}
		}
	})
}

// The host is gone: handlers' contexts end, Stop is called, calls fail.
func TestHostGone(t *testing.T) {
	began := make(chan struct{})
	ended, stopped := make(chan error, 1), make(chan struct{})
	var host *sdk.Host
	p := with(func(ctx context.Context, _ *sdk.Tx, m sdk.Upstream) error {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	})
	p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
	p.Stop = func(context.Context) error { close(stopped); return nil }
	client, stop, err := plugintest.Connect(p, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, cut := context.WithCancel(t.Context())
	l := listen(ctx, t, client)
	if err := client.Configure(t.Context(), &wire.ConfigureRequest{}); err != nil {
		t.Fatal(err)
	}
	l.deliver(1)
	<-began
	var sending sync.WaitGroup
	sending.Go(func() { // no answer will come
		if _, err := host.Send(t.Context(), news); !errors.Is(err, sdk.ErrUnavailable) {
			t.Errorf("send into the break: %v", err)
		}
	})
	l.until(func(f *wire.PluginFrame) bool { return len(f.Call) == 1 })
	cut()
	<-ended
	<-stopped
	sending.Wait()
	if err := <-l.closed; !errors.Is(err, context.Canceled) {
		t.Errorf("closed with %v", err)
	}
}

// When the host closes its half of the stream without a drain, the plugin ends soon.
func TestHostClosesItsHalf(t *testing.T) {
	began := make(chan struct{})
	l := dial(t, with(func(ctx context.Context, _ *sdk.Tx, m sdk.Upstream) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}), quiet)
	l.deliver(1)
	<-began
	l.session.Close()
	all := l.until(func(f *wire.PluginFrame) bool { return f.Drained })
	if len(all.Result) != 1 || all.Result[0].Code != wire.Result_RELEASE {
		t.Errorf("%v", all)
	}
	if err := <-l.closed; err != nil {
		t.Errorf("closed with %v", err)
	}
}

// A host must not give one number to two deliveries. If it does, the plugin answers
// both and can still drain.
func TestTwoDeliveriesOfOneNumber(t *testing.T) {
	both, release := make(chan struct{}, 2), make(chan struct{})
	l := dial(t, with(func(context.Context, *sdk.Tx, sdk.Upstream) error { both <- struct{}{}; <-release; return nil }), quiet)
	l.deliver(1, 1)
	<-both
	<-both
	close(release)
	l.session.Send(&wire.HostFrame{Drain: &wire.Drain{TimeoutMs: 10_000}})
	if all := l.until(func(f *wire.PluginFrame) bool { return f.Drained }); len(all.Done) != 2 {
		t.Errorf("%v", all)
	}
}

func TestOneSessionAProcess(t *testing.T) {
	l := dial(t, with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil }), quiet)
	if err := l.client.Configure(t.Context(), &wire.ConfigureRequest{}); !errors.Is(err, wire.ErrPrecondition) {
		t.Errorf("second configure: %v", err)
	}
	second := listen(t.Context(), t, l.client)
	if err := <-second.closed; !errors.Is(err, wire.ErrPrecondition) {
		t.Errorf("second session: %v", err)
	}
}

func TestLogLevelChangesAtRunTime(t *testing.T) {
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &strings.Builder{}})
	l := dial(t, with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil }), log)
	l.session.Send(&wire.HostFrame{LogLevel: "nonsense"})
	l.session.Send(&wire.HostFrame{LogLevel: "error", Ping: 1})
	if err := l.session.Ping(t.Context()); err != nil || log.GetLevel() != hclog.Error {
		t.Errorf("%v, level %v", err, log.GetLevel())
	}
}

// The host fills in the default session, because its config can change while the
// plugin runs.
func TestSessionsChangeAtRunTime(t *testing.T) {
	var host *sdk.Host
	p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil })
	p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
	l := dial(t, p, quiet)
	if got := host.Sessions(); !slices.Equal(got, []string{"main"}) {
		t.Errorf("sessions %q before", got)
	}
	l.session.Send(&wire.HostFrame{Sessions: []string{"primary", "second"}, Ping: 1})
	if err := l.session.Ping(t.Context()); err != nil || !slices.Equal(host.Sessions(), []string{"primary", "second"}) {
		t.Errorf("%v, sessions %q", err, host.Sessions())
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() { _, _ = host.Send(ctx, news) })
	call := l.until(func(f *wire.PluginFrame) bool { return len(f.Call) == 1 }).Call[0]
	if got := call.GetSend().GetSession(); got != "" {
		t.Errorf("a downstream without a session names %q", got)
	}
	cancel()
	sending.Wait()
}

// Grease: fields of a newer host don't stop an older plugin.
func TestUnknownFieldsAndEvents(t *testing.T) {
	l := dial(t, with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil }), quiet)
	f := &wire.HostFrame{Deliver: []*wire.Delivery{{Delivery: 1}}, Reply: []*wire.Reply{{Id: 4711}}}
	f.Deliver[0].ProtoReflect().SetUnknown([]byte{0xfa, 0x3f, 0x03, 'n', 'e', 'w'}) // field 1023
	l.session.Send(f)
	r := l.until(func(f *wire.PluginFrame) bool { return len(f.Result) == 1 }).Result[0]
	if r.Code != wire.Result_RETRY || !strings.Contains(r.Error, "newer") {
		t.Errorf("%v", r)
	}
}
