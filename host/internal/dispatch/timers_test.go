package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/host/internal/route"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// what names events: those that were handed out, in order.
func (p *process) what() string {
	var all []string
	for _, m := range p.deliveries() {
		switch e := m.Event.(type) {
		case *wire.Delivery_Upstream:
			all = append(all, e.Upstream.MessageId)
		case *wire.Delivery_Outcome:
			all = append(all, "outcome "+e.Outcome.Group)
		case *wire.Delivery_Timer:
			all = append(all, "timer "+e.Timer.Key)
		}
	}
	return strings.Join(all, ", ")
}

func (b *bench) wantWhat(p *process, want string) {
	b.Helper()
	synctest.Wait()
	if got := p.what(); got != want {
		b.Fatalf("handed out %q, want %q", got, want)
	}
}

func ordered(order string) func(*instance.Facts) {
	return func(f *instance.Facts) {
		var err error
		if f.Order, err = route.ParseOrder(order); err != nil {
			panic(err)
		}
	}
}

// A timer waits for what is in its lane: the upstreams of its device, or of its key in an
// order by key, the outcomes of its group, or timers of its lane's name. // P5
func TestTimerLanes(t *testing.T) {
	anna := entry.Lane{Kind: entry.Upstream, Hash: hash("anna")}
	key, _ := ordersKey("x")
	for _, tt := range []struct {
		name, order string
		before      func(b *bench)
		at          entry.Lane
		waits       bool
	}{
		{"device", "device", func(b *bench) { b.upstreams("anna", "x") }, anna, true},
		{"other device", "device", func(b *bench) { b.upstreams("otto", "x") }, anna, false},
		{"key", "key:data.v", func(b *bench) { b.upstreams("otto", "x") }, entry.Lane{Kind: entry.Upstream, Hash: hash("anna"), Key: key}, true},
		{"other key", "key:data.v", func(b *bench) { b.upstreams("anna", "y") }, entry.Lane{Kind: entry.Upstream, Hash: hash("anna"), Key: key}, false},
		{"no key", "key:data.none", func(b *bench) { b.upstreams("anna", "x") }, anna, true},
		{"key of another order", "device", func(b *bench) { b.upstreams("anna", "y") }, entry.Lane{Kind: entry.Upstream, Hash: hash("anna"), Key: key}, true},
		{"no order", "none", func(b *bench) { b.upstreams("anna", "x") }, anna, false},
		{"group", "device", func(b *bench) { b.ledger.outcome("echo", "room") }, entry.Lane{Kind: entry.Outcome, Hash: hash("room")}, true},
		{"other group", "device", func(b *bench) { b.ledger.outcome("echo", "hall") }, entry.Lane{Kind: entry.Outcome, Hash: hash("room")}, false},
		{"no group", "device", func(b *bench) { b.ledger.outcome("echo", "") }, entry.Lane{Kind: entry.Outcome}, false},
		{"name", "device", func(b *bench) { b.ledger.timer("echo", "x", entry.Lane{Kind: entry.Timer, Hash: 7}) }, entry.Lane{Kind: entry.Timer, Hash: 7}, true},
		{"other name", "device", func(b *bench) { b.ledger.timer("echo", "x", entry.Lane{Kind: entry.Timer, Hash: 8}) }, entry.Lane{Kind: entry.Timer, Hash: 7}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			booted(t, func(b *bench) {
				p := b.echo(nil, ordered(tt.order))
				tt.before(b)
				synctest.Wait()
				b.ledger.timer("echo", "k", tt.at)
				synctest.Wait()
				if n := len(p.deliveries()); (n == 1) != tt.waits {
					t.Fatalf("handed out %q", p.what())
				}
				p.done(p.deliveries()[0])
				synctest.Wait()
				if n := len(p.deliveries()); n != 2 {
					t.Fatalf("handed out %q", p.what())
				}
				if got := p.last().GetTimer(); got == nil || got.Session != "main" || got.Device != "anna" || got.Key != "k" || string(got.Data) != "1" || got.DueMs != 5 || got.Id != "e-k" {
					t.Errorf("timer %v", got)
				}
			})
		})
	}
}

// ordersKey is the lane of a value in an order by key.
func ordersKey(value string) (uint64, bool) {
	o, err := route.ParseOrder("key:data.v")
	if err != nil {
		panic(err)
	}
	return o.Lane(1, fmt.Appendf(nil, `{"data":{"v":%q}}`, value))
}

// A handler's timer gets the session, the device and the lane of its event, or those that it
// names.
func TestTimersOfAHandler(t *testing.T) {
	key, _ := ordersKey("x")
	anna := entry.Lane{Kind: entry.Upstream, Hash: hash("anna"), Key: key}
	group := entry.Lane{Kind: entry.Outcome, Hash: hash("room")}
	named := entry.Lane{Kind: entry.Timer, Hash: entry.Hash("name")}
	device := func(session string) *wire.Schedule {
		return &wire.Schedule{Lane: &wire.Schedule_Device{Device: &wire.Device{Session: session, Device: "otto"}}}
	}
	inName := &wire.Schedule{Lane: &wire.Schedule_Named{Named: "name"}}
	upstream := func(b *bench) { b.upstreams("anna", "x") }
	for _, tt := range []struct {
		name  string
		event func(b *bench)
		set   *wire.Schedule
		want  entry.Schedule
	}{
		{"upstream", upstream, &wire.Schedule{}, entry.Schedule{Session: "1", Device: "anna", Lane: anna}},
		{"outcome", func(b *bench) { b.ledger.outcome("echo", "room") }, &wire.Schedule{}, entry.Schedule{Session: "1", Lane: group}},
		{"timer", func(b *bench) { b.ledger.timer("echo", "t", named) }, &wire.Schedule{}, entry.Schedule{Session: "1", Device: "anna", Lane: named}},
		{"device", upstream, device("phones"), entry.Schedule{Session: "2", Device: "otto", Lane: entry.Lane{Kind: entry.Upstream, Hash: entry.DeviceHash("2", "otto")}}},
		{"device of the session", upstream, device(""), entry.Schedule{Session: "1", Device: "otto", Lane: entry.Lane{Kind: entry.Upstream, Hash: entry.DeviceHash("1", "otto")}}},
		{"name", upstream, inName, entry.Schedule{Session: "1", Device: "anna", Lane: named}},
		{"cancel", upstream, &wire.Schedule{Cancel: true}, entry.Schedule{Cancel: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			booted(t, func(b *bench) {
				p := b.echo(nil, ordered("key:data.v"))
				tt.event(b)
				synctest.Wait()
				tt.set.Key, tt.set.AtMs, tt.set.Data = "k", 9, []byte(`{"a":1}`)
				p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Schedule: []*wire.Schedule{tt.set}}})
				synctest.Wait()
				if tt.want.Key = "k"; !tt.want.Cancel {
					tt.want.At, tt.want.Data = time.UnixMilli(9), []byte(`{"a":1}`)
				}
				if diff := cmp.Diff([]entry.Schedule{tt.want}, b.ledger.ends()[0].Changes.Schedules); diff != "" {
					t.Error(diff)
				}
			}, twoTransports)
		})
	}
}

// An update's timer is in a lane of its own key, or as it names.
func TestTimersOfAnUpdate(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		for i, tt := range []struct {
			set  *wire.Schedule
			want entry.Schedule
			err  string
		}{
			{&wire.Schedule{}, entry.Schedule{Lane: entry.Lane{Kind: entry.Timer, Hash: entry.Hash("k")}}, ""},
			{&wire.Schedule{Lane: &wire.Schedule_Named{Named: "n"}}, entry.Schedule{Lane: entry.Lane{Kind: entry.Timer, Hash: entry.Hash("n")}}, ""},
			{&wire.Schedule{Lane: &wire.Schedule_Device{Device: &wire.Device{Session: "phones", Device: "d"}}},
				entry.Schedule{Session: "2", Device: "d", Lane: entry.Lane{Kind: entry.Upstream, Hash: entry.DeviceHash("2", "d")}}, ""},
			{&wire.Schedule{Lane: &wire.Schedule_Device{Device: &wire.Device{Device: "d"}}}, entry.Schedule{}, `invalid: the lane of timer "k" names a device without a session, and there are several: ["main" "phones"]`},
			{&wire.Schedule{Lane: &wire.Schedule_Device{Device: &wire.Device{Session: "x", Device: "d"}}}, entry.Schedule{}, `invalid: timer "k": session "x" is not in config.hcl; there are ["main" "phones"]`},
		} {
			tt.set.Key, tt.set.AtMs = "k", 9
			p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{{Id: uint64(i + 1), Op: &wire.Call_Update{Update: &wire.Changes{Schedule: []*wire.Schedule{tt.set}}}}}})
			synctest.Wait()
			if last := p.frames[len(p.frames)-1].Reply; len(last) != 1 || last[0].Error != tt.err {
				t.Errorf("%d: reply %v, want %q", i, last, tt.err)
			}
			if tt.err != "" {
				continue
			}
			tt.want.Key, tt.want.At = "k", time.UnixMilli(9)
			if diff := cmp.Diff([]entry.Schedule{tt.want}, b.ledger.updates[i].Schedules); diff != "" {
				t.Error(diff)
			}
		}
	}, twoTransports)
}

// What can't be set makes a dead letter of its event, which says why; it ends neither the
// session nor the plugin. // P8 P10
func TestTimersThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", message.MaxKey+1)
	for want, set := range map[string]*wire.Schedule{
		"state key":                {Key: ""},
		"must be 1 to 512 bytes":   {Key: long},
		"is not JSON":              {Key: "k", Data: []byte("{")},
		"after the year 2199":      {Key: "k", AtMs: time.Now().UnixMicro()},
		`timer "k": invalid: lane`: {Key: "k", Lane: &wire.Schedule_Named{Named: long}},
		"1 to 4096":                {Key: "k", Lane: &wire.Schedule_Device{Device: &wire.Device{}}},
		"has no Timer handler":     {Key: "k"},
	} {
		t.Run(want, func(t *testing.T) {
			booted(t, func(b *bench) {
				p := b.echo(nil, func(f *instance.Facts) { f.Timer = want != "has no Timer handler" })
				b.upstreams("anna", "x")
				synctest.Wait()
				p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Schedule: []*wire.Schedule{set}}})
				synctest.Wait()
				if ends := b.ledger.ends(); len(ends) != 1 || ends[0].Verdict != entry.Dead || !strings.Contains(ends[0].Reason, strings.TrimPrefix(want, "state key")) {
					t.Errorf("ends %+v", ends)
				}
			})
		})
	}
}

// A timer that is canceled before its turn is handed out to nobody. If a handler has it, what
// that does does not count. Its lane goes on, and nothing of it is pending.
func TestCanceledTimers(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(nil)
		at := entry.Lane{Kind: entry.Timer, Hash: 7}
		for _, key := range []string{"running", "behind", "next"} {
			b.ledger.timer("echo", key, at)
		}
		b.wantWhat(p, "timer running")
		b.cancel(p, "running", "behind", "none")
		p.result(&wire.Result{Delivery: p.last().Delivery, Code: wire.Result_DONE, Changes: &wire.Changes{Write: []*wire.Write{{Key: "k", Value: []byte("1")}}}})
		b.wantWhat(p, "timer running, timer next")
		p.done(p.last())
		synctest.Wait()
		if s := b.status().Plugins[0]; s.Pending != 0 || s.Handled != 1 || s.Lanes != 0 || s.InFlight != 0 {
			t.Errorf("status %+v", s.Work)
		}
		var ends []entry.Verdict
		for _, end := range b.ledger.ends() {
			ends = append(ends, end.Verdict)
		}
		if diff := cmp.Diff([]entry.Verdict{entry.Void, entry.Void, entry.Done}, ends); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(b.log.String(), "[ERROR]") {
			t.Error(b.log)
		}
	})
}

// cancel has the plugin cancel timers outside of events.
func (b *bench) cancel(p *process, keys ...string) {
	for _, key := range keys {
		c := &wire.Changes{Schedule: []*wire.Schedule{{Key: key, Cancel: true}}}
		p.plugin.Frame(&wire.PluginFrame{Call: []*wire.Call{{Id: 1, Op: &wire.Call_Update{Update: c}}}})
	}
	synctest.Wait()
}

// A canceled timer that waits for its next attempt keeps its lane waiting no longer.
func TestCanceledTimerThatWaits(t *testing.T) {
	booted(t, func(b *bench) {
		p := b.echo(func(p *process, m *wire.Delivery) {
			if m.GetTimer().GetKey() == "fails" {
				p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: time.Hour.Milliseconds()})
			} else {
				p.done(m)
			}
		})
		b.ledger.timer("echo", "fails", entry.Lane{Kind: entry.Timer, Hash: 7})
		b.ledger.timer("echo", "next", entry.Lane{Kind: entry.Timer, Hash: 7})
		b.wantWhat(p, "timer fails")
		b.cancel(p, "fails")
		b.wantWhat(p, "timer fails, timer next")
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d events are pending", n)
		}
	})
}

// While all kinds wait, timers have their turns. Without a handler they are done at once.
func TestTimersTakeTurns(t *testing.T) {
	booted(t, func(b *bench) {
		for i := range 20 {
			b.upstreams("anna", fmt.Sprint("u", i))
			b.ledger.outcome("echo", "")
			b.ledger.timer("echo", fmt.Sprint("t", i), entry.Lane{Kind: entry.Outcome})
		}
		p := b.echo(nil, unordered, func(f *instance.Facts) { f.MaxInFlight = 18 })
		synctest.Wait()
		if n := strings.Count(p.what(), "timer"); n < 4 || n > 5 {
			t.Errorf("handed out %s", p.what())
		}
	})
	booted(t, func(b *bench) {
		p := b.echo(nil, func(f *instance.Facts) { f.Timer = false })
		b.ledger.timer("echo", "k", entry.Lane{Kind: entry.Timer, Hash: 7})
		b.wantWhat(p, "")
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d events are pending", n)
		}
	})
}
