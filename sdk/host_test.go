package sdk_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/plugintest"
)

var news = sdk.Downstream{To: sdk.Topic("news"), Data: map[string]string{"k": "v"}}

// hosted starts a plugin that does nothing and returns its Host.
func hosted(t *testing.T, o plugintest.Options) (*plugintest.Host, *sdk.Host) {
	var host *sdk.Host
	p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil })
	p.Start = func(_ context.Context, h *sdk.Host) error { host = h; return nil }
	return plugintest.New(t, p, o), host
}

func TestHostSend(t *testing.T) {
	h, host := hosted(t, plugintest.Options{})
	ctx := t.Context()
	id, err := host.Send(ctx, news)
	if err != nil || len(id) != 26 || len(h.Sent()) != 1 || h.Sent()[0].MessageID != id || h.Sent()[0].Session != "main" {
		t.Fatalf("%q, %v: %+v", id, err, h.Sent())
	}
	again := news
	again.MessageID = id
	if same, err := host.Send(ctx, again); err != nil || same != id || len(h.Sent()) != 1 {
		t.Errorf("the same again: %q, %v, %d sent", same, err, len(h.Sent()))
	}
	again.Data = map[string]string{"k": "other"}
	if _, err := host.Send(ctx, again); !errors.Is(err, sdk.ErrInvalid) {
		t.Errorf("other content under the same id: %v", err)
	}
	if id, err := host.Send(ctx, sdk.Downstream{}); !errors.Is(err, sdk.ErrInvalid) || id != "" {
		t.Errorf("empty downstream: %q, %v", id, err)
	}
}

// Send returns the id with an error too, so that sending again is safe.
func TestHostSendRefused(t *testing.T) {
	h, host := hosted(t, plugintest.Options{})
	h.Refuse("disk at its soft limit")
	id, err := host.Send(t.Context(), news)
	if !errors.Is(err, sdk.ErrUnavailable) || id == "" || !strings.Contains(err.Error(), "soft limit") {
		t.Fatalf("%q, %v", id, err)
	}
	h.Refuse("")
	again := news
	again.MessageID = id
	if got, err := host.Send(t.Context(), again); err != nil || got != id || len(h.Sent()) != 1 {
		t.Errorf("again: %q, %v", got, err)
	}
}

func TestDefaultSession(t *testing.T) {
	h, host := hosted(t, plugintest.Options{Sessions: []string{"de", "fr"}})
	if _, err := host.Send(t.Context(), news); !errors.Is(err, sdk.ErrInvalid) || !strings.Contains(err.Error(), `["de" "fr"]`) {
		t.Errorf("no session among two: %v", err)
	}
	named := news
	named.Session = "fr"
	if _, err := host.Send(t.Context(), named); err != nil || h.Sent()[0].Session != "fr" {
		t.Errorf("named session: %v", err)
	}
}

// P7 outside an event: concurrent updates of one key all count.
func TestHostUpdate(t *testing.T) {
	h, host := hosted(t, plugintest.Options{})
	const workers, rounds = 8, 20
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				err := host.Update(t.Context(), func(tx *sdk.Tx) error {
					var n int
					if _, err := tx.Get(t.Context(), "n", &n); err != nil {
						return err
					}
					return tx.Put("n", n+1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var n int
	if h.State("n", &n); n != workers*rounds {
		t.Errorf("%d, want %d", n, workers*rounds)
	}
	no := errors.New("changed my mind")
	if err := host.Update(t.Context(), func(tx *sdk.Tx) error { _ = tx.Delete("n"); return no }); err != no || !h.State("n", &n) {
		t.Errorf("update that fails: %v", err)
	}
	if err := host.Update(t.Context(), func(tx *sdk.Tx) error { _, err := tx.Send(news); return err }); err != nil || len(h.Sent()) != 1 {
		t.Errorf("update that sends: %v", err)
	}
}

func TestHostAfterTheEnd(t *testing.T) {
	h, host := hosted(t, plugintest.Options{})
	h.Stop()
	if _, err := host.Send(t.Context(), news); !errors.Is(err, sdk.ErrUnavailable) {
		t.Errorf("send after the end: %v", err)
	}
}

type greeting struct {
	Greeting string       `json:"greeting"`
	Every    sdk.Duration `json:"every"`
	Times    int          `json:"times"`
	Limits   struct {
		Most int `json:"most"`
	} `json:"limits"`
}

func TestConfig(t *testing.T) {
	conf := greeting{Greeting: "hello", Times: 3}
	p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil })
	p.Config = &conf
	p.Start = func(context.Context, *sdk.Host) error {
		if want := (greeting{Greeting: "hi", Times: 3, Every: sdk.Duration(90 * time.Second)}); conf != want {
			t.Errorf("config in Start: %+v, want %+v", conf, want)
		}
		return nil
	}
	plugintest.New(t, p, plugintest.Options{Config: map[string]any{"greeting": "hi", "every": "1m30s"}})
}

func TestRefusals(t *testing.T) {
	upstream := func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil }
	for _, c := range []struct {
		name   string
		change func(*sdk.Plugin, *plugintest.Options)
		want   string
	}{
		{"unknown key", func(p *sdk.Plugin, o *plugintest.Options) { o.Config = map[string]any{"greting": "x"} }, `no key "greting"`},
		{"wrong type", func(p *sdk.Plugin, o *plugintest.Options) { o.Config = map[string]any{"times": "x"} }, `key "times" is of type string`},
		{"nested", func(p *sdk.Plugin, o *plugintest.Options) {
			o.Config = map[string]any{"limits": map[string]any{"most": true}}
		}, `key "limits.most" is of type bool`},
		{"bad duration", func(p *sdk.Plugin, o *plugintest.Options) { o.Config = map[string]any{"every": "soon"} }, `"soon" is not a duration`},
		{"no object", func(p *sdk.Plugin, o *plugintest.Options) { o.Config = []int{1} }, "must be an object"},
		{"takes none", func(p *sdk.Plugin, o *plugintest.Options) { p.Config = nil; o.Config = map[string]any{"a": 1} }, `no key "a"`},
		{"start", func(p *sdk.Plugin, o *plugintest.Options) {
			p.Start = func(context.Context, *sdk.Host) error { return errors.New("no database") }
		}, "start: no database"},
		{"start panics", func(p *sdk.Plugin, o *plugintest.Options) {
			p.Start = func(context.Context, *sdk.Host) error { panic("boom") }
		}, "panic: boom"},
		{"no name", func(p *sdk.Plugin, o *plugintest.Options) { p.Name = "" }, "no name"},
		{"bad name", func(p *sdk.Plugin, o *plugintest.Options) { p.Name = "a/b" }, `"a/b"`},
		{"nothing", func(p *sdk.Plugin, o *plugintest.Options) { p.Upstream = nil }, "does nothing"},
		{"categories alone", func(p *sdk.Plugin, o *plugintest.Options) {
			p.Upstream, p.Run = nil, func(context.Context, *sdk.Host) error { return nil }
		}, "no Upstream handler"},
		{"twice", func(p *sdk.Plugin, o *plugintest.Options) { p.Categories = []string{"a", "a"} }, `"a" twice`},
		{"order", func(p *sdk.Plugin, o *plugintest.Options) { p.Order = "room" }, `order "room"`},
		{"order path", func(p *sdk.Plugin, o *plugintest.Options) { p.Order = sdk.OrderByKey("data..room") }, "key:data..room"},
		{"config value", func(p *sdk.Plugin, o *plugintest.Options) { p.Config = greeting{} }, "pointer to a struct"},
		{"in flight", func(p *sdk.Plugin, o *plugintest.Options) { p.MaxInFlight = -1 }, "MaxInFlight is -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sdk.Plugin{Name: "probe", Categories: []string{"c"}, Upstream: upstream, Config: &greeting{}}
			var o plugintest.Options
			c.change(&p, &o)
			if err := plugintest.Refusal(t, p, o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
}

// Run begins after Start, ends before Stop, and never runs in two instances.
func TestRunAcrossReloads(t *testing.T) {
	var running, starts, stops atomic.Int32
	begun := make(chan struct{}, 10)
	version := func() sdk.Plugin {
		p := with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil })
		started := false
		p.Start = func(context.Context, *sdk.Host) error { started = true; starts.Add(1); return nil }
		p.Run = func(ctx context.Context, h *sdk.Host) error {
			if !started || running.Add(1) != 1 {
				t.Errorf("run began with started %v, %d running", started, running.Load())
			}
			begun <- struct{}{}
			<-ctx.Done()
			_, err := h.Send(context.WithoutCancel(ctx), news) // still possible while stopping
			running.Add(-1)
			return err
		}
		p.Stop = func(context.Context) error {
			if running.Load() != 0 {
				t.Error("stop beside run")
			}
			stops.Add(1)
			return nil
		}
		return p
	}
	h := plugintest.New(t, version(), plugintest.Options{})
	<-begun
	h.Reload(version())
	<-begun
	h.Stop()
	if starts.Load() != 2 || stops.Load() != 2 || len(h.Sent()) != 2 {
		t.Errorf("%d starts, %d stops, %d sent", starts.Load(), stops.Load(), len(h.Sent()))
	}
}

// P5, P7 as an author sees them: the events that a dead instance held come again to
// the next instance, and what the dead one did is not committed.
func TestCrash(t *testing.T) {
	var runs atomic.Int32
	began := make(chan struct{})
	h := plugintest.New(t, with(func(ctx context.Context, tx *sdk.Tx, m sdk.Upstream) error {
		if err := tx.Put("run", runs.Add(1)); err != nil {
			return err
		}
		if runs.Load() == 1 {
			close(began)
			<-ctx.Done()
		}
		return nil
	}), plugintest.Options{})
	var all sync.WaitGroup
	all.Go(func() {
		if r := h.Upstream(sdk.Upstream{}); r.Err() != nil {
			t.Error(r.Err())
		}
	})
	<-began
	h.Crash()
	all.Wait()
	var run int
	if h.State("run", &run); run != 2 || runs.Load() != 2 {
		t.Errorf("committed run %d of %d", run, runs.Load())
	}
}

func TestHostGet(t *testing.T) {
	h, host := hosted(t, plugintest.Options{})
	n := 7
	if found, err := host.Get(t.Context(), "n", &n); found || err != nil || n != 7 {
		t.Errorf("absent key: %v, %v, %d", found, err, n)
	}
	h.SetState("n", 8)
	if found, err := host.Get(t.Context(), "n", &n); !found || err != nil || n != 8 {
		t.Errorf("key: %v, %v, %d", found, err, n)
	}
}
