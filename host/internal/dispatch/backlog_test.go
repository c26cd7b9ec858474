package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/sdk/message"
	"balhost/sdk/wire"
)

// little gives lanes next to no room, but for every third seed.
func little(seed uint64) func(*Dispatcher) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	c := caps{loaded: 1 + rnd.IntN(20), least: 1 + rnd.IntN(8), lane: 1 + rnd.IntN(8), batch: 1 + rnd.IntN(9), reads: 1 + rnd.IntN(3)}
	return func(d *Dispatcher) {
		if seed%3 != 0 {
			d.caps = c
		}
	}
}

// deepLedger has a million events of one category, and no memory of them.
type deepLedger struct{ *fakeLedger }

const deep = 1_000_000

func (deepLedger) Events(after uint64, most int) []entry.Event {
	all := make([]entry.Event, 0, most)
	for seq := after + 1; seq <= deep && len(all) < most; seq++ {
		all = append(all, entry.Event{Seq: seq, Kind: entry.Upstream, Session: "1", Category: "deep", Device: seq % 50_000})
	}
	return all
}

func (deepLedger) Body(seq uint64) (entry.Body, error) {
	return entry.Body{Upstream: &message.Upstream{ID: fmt.Sprint(seq), Raw: json.RawMessage(`{}`)}}, nil
}

// TestBacklogLeavesMemoryFlat: a million events that nobody takes cost the
// dispatcher no memory; nor do they, but for what its lanes may hold, when their plugin is stuck. // P10
func TestBacklogLeavesMemoryFlat(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	fake := newLedger()
	fake.changed = make(chan struct{})
	d := New(Options{Ledger: deepLedger{fake}, Senders: func() entry.Senders { return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	before := heap()
	go func() { ended <- d.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	d.Booted()
	look := func(what string, enough func(Status) bool, most int64) {
		t.Helper()
		for until := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			s, err := d.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if enough(s) {
				break
			}
			if time.Now().After(until) {
				t.Fatalf("%s: %+v", what, s)
			}
		}
		if grown := heap() - before; grown > most {
			t.Errorf("%s: %d bytes of memory", what, grown)
		} else {
			t.Logf("%s: %d KiB of memory", what, grown>>10)
		}
	}
	look("nobody claims it", func(s Status) bool { return len(s.Holding) == 1 && s.Holding[0].Pending == deep }, 2<<20)
	b := &bench{T: t, d: d}
	b.plugin("late", "deep", nil)
	look("its plugin is stuck", func(s Status) bool {
		return s.Plugins[0].InFlight == 8 && s.Plugins[0].Pending == deep && s.Plugins[0].Lanes >= usual.loaded/2
	}, 24<<20)
	if err := d.ask(t.Context(), func(d *Dispatcher) error {
		if d.loaded > usual.loaded || d.loaded < usual.loaded/2 || len(d.plugins["late"].lanes) > d.loaded {
			t.Errorf("lanes hold %d events, at most %d should be", d.loaded, usual.loaded)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// countingLedger counts the events that are read of it.
type countingLedger struct {
	*fakeLedger
	read *atomic.Int64
}

func (l countingLedger) Events(after uint64, most int) []entry.Event {
	events := l.fakeLedger.Events(after, most)
	l.read.Add(int64(len(events)))
	return events
}

// TestBacklogIsReadOnce: a plugin that works off what many devices sent reads hardly any
// event of it twice, whatever its lanes can hold.
func TestBacklogIsReadOnce(t *testing.T) {
	const devices, burst, bursts = 100, 5, 40
	ledger, read := newLedger(), &atomic.Int64{}
	for i := range bursts {
		for device := range devices {
			for j := range burst {
				ledger.changed = make(chan struct{})
				ledger.upstream("app", fmt.Sprint(device), fmt.Sprintf("%d-%d", device, i*burst+j))
			}
		}
	}
	start(t, ledger, func(b *bench) {
		b.echo(func(p *process, m *wire.Delivery) { p.done(m) })
		b.d.Booted()
		synctest.Wait()
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d are left", n)
		}
		const all = devices * burst * bursts
		if n := read.Load() - all; n > all*3/2 { // New sees each of them once, too
			t.Errorf("%d events were read for %d", n, all)
		}
	}, func(d *Dispatcher) {
		d.caps = caps{loaded: 800, least: 32, lane: 16, batch: 50, reads: 2}
		d.o.Ledger = countingLedger{ledger, read}
	})
}

// TestFullLanesKeepNoOtherWaiting: lanes whose heads wait leave room for others
// behind them, and go on in order when their time has come. // P5
func TestFullLanesKeepNoOtherWaiting(t *testing.T) {
	ledger := newLedger()
	for i := range 900 {
		ledger.changed = make(chan struct{})
		device := fmt.Sprint("stuck", i%9)
		ledger.upstream("app", device, fmt.Sprintf("%s-%d", device, i/9))
	}
	for i := range 100 {
		ledger.changed = make(chan struct{})
		ledger.upstream("app", fmt.Sprint("fast", i%4), fmt.Sprintf("fast%d-%d", i%4, i/4))
	}
	start(t, ledger, func(b *bench) {
		b.d.Booted()
		var goes atomic.Bool
		next := map[string]int{}
		b.echo(func(p *process, m *wire.Delivery) {
			u := m.GetUpstream()
			if !goes.Load() && u.Device[0] == 's' {
				p.result(&wire.Result{Delivery: m.Delivery, Code: wire.Result_RETRY, DelayMs: int64(time.Hour / time.Millisecond), Error: "not now"})
				return
			}
			if want := fmt.Sprintf("%s-%d", u.Device, next[u.Device]); u.MessageId != want {
				t.Errorf("handed %s while %s is next", u.MessageId, want)
			}
			next[u.Device]++
			p.done(m)
		}, func(f *instance.Facts) { f.MaxAttempts = 0 })
		synctest.Wait()
		if n := b.ledger.pending(); n != 900 {
			t.Errorf("%d are pending, want those 900 whose lanes wait", n)
		}
		if w, _, err := b.d.Waiting(b.Context(), "", 1); err != nil || len(w) != 1 || w[0].Behind != 99 {
			t.Errorf("behind the head of a lane that waits: %+v, %v", w, err)
		}
		goes.Store(true)
		time.Sleep(2 * time.Hour) // bubble time
		synctest.Wait()
		if n := b.ledger.pending(); n != 0 {
			t.Errorf("%d are left", n)
		}
	}, func(d *Dispatcher) { d.caps = caps{loaded: 80, least: 32, lane: 16, batch: 25, reads: 2} })
}

// TestBacklogMoves: what waits deep goes with its category, in order, from one
// plugin to the next and to nobody. // P5, P9
func TestBacklogMoves(t *testing.T) {
	for seed := range uint64(12) {
		booted(t, func(b *bench) {
			m := &moves{bench: b, seed: seed, rnd: rand.New(rand.NewPCG(seed, 4)), living: map[string]*process{}, next: map[string]int{}}
			for range 60 {
				m.calm(func() { m.change([]string{"one", "two"}[m.rnd.IntN(2)], 1+m.rnd.IntN(4), m.rnd.IntN(2) == 0) })
				m.add(m.rnd.IntN(30))
				for range m.rnd.IntN(20) {
					m.answer()
				}
			}
			m.calm(func() { m.change("one", 4, true); m.change("two", 4, true) }) // from now on somebody has each
			for steps := 0; b.ledger.pending() > 0; steps++ {
				if steps > 5000 {
					t.Fatalf("seed %d: %d events still pending: %+v", seed, b.ledger.pending(), b.status())
				}
				m.answer()
			}
			for _, p := range b.status().Plugins {
				if p.Pending != 0 || p.Lanes != 0 {
					t.Errorf("seed %d: nothing is pending, and the status says %+v", seed, p)
				}
			}
			if h := b.status().Holding; len(h) != 0 {
				t.Errorf("seed %d: nothing is pending, and the status says %+v", seed, h)
			}
		}, little(seed))
	}
}

// moves are plugins that come and go, with other claims each time.
type moves struct {
	*bench
	seed   uint64
	rnd    *rand.Rand
	living map[string]*process
	sent   map[string]int

	mu   sync.Mutex     // guards what follows
	next map[string]int // by device: the number that must come
	open []opened
}

type opened struct {
	by *process
	it *wire.Delivery
}

func (m *moves) handle(p *process, it *wire.Delivery) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := it.GetUpstream()
	if want := fmt.Sprintf("%s-%d", u.Device, m.next[u.Device]); u.MessageId != want {
		m.Errorf("seed %d: %s was handed %s while %s is next", m.seed, p.plugin.Name, u.MessageId, want)
	}
	m.open = append(m.open, opened{p, it})
}

func (m *moves) add(n int) {
	if m.sent == nil {
		m.sent = map[string]int{}
	}
	for range n {
		category := []string{"a", "b", "c"}[m.rnd.IntN(3)]
		device := fmt.Sprint(category, m.rnd.IntN(3))
		m.ledger.upstream(category, device, fmt.Sprintf("%s-%d", device, m.sent[device]))
		m.sent[device]++
	}
}

// answer answers one delivery, or lets time pass when there is none.
func (m *moves) answer() bool {
	synctest.Wait()
	m.mu.Lock()
	n := len(m.open)
	if n == 0 {
		m.mu.Unlock()
		time.Sleep(20 * time.Millisecond) // bubble time
		return false
	}
	i := m.rnd.IntN(n)
	o := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	retry := m.rnd.IntN(4) == 0
	if !retry {
		m.next[o.it.GetUpstream().Device]++
	}
	m.mu.Unlock()
	if retry {
		o.by.result(&wire.Result{Delivery: o.it.Delivery, Code: wire.Result_RETRY, DelayMs: 10})
	} else {
		o.by.done(o.it)
	}
	return true
}

// calm calls f while no plugin holds anything: what is handed out keeps no
// order with what moves to another plugin.
func (m *moves) calm(f func()) {
	for name := range m.living {
		if err := m.d.Pause(m.Context(), name); err != nil {
			m.Fatal(err)
		}
	}
	for m.answer() {
	}
	f()
	for _, name := range []string{"one", "two"} {
		if err := m.d.Resume(m.Context(), name); err != nil {
			m.Fatal(err)
		}
	}
}

// change has a plugin go and, when it comes again, have n claims.
func (m *moves) change(name string, n int, again bool) {
	if p := m.living[name]; p != nil {
		p.plugin.Gone("it goes")
		if m.rnd.IntN(2) == 0 {
			m.d.Removed(name)
		}
		delete(m.living, name)
	}
	if !again {
		return
	}
	claims := []string{"a", "b", "c", "*"}
	m.rnd.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
	m.living[name] = m.plugin(name, "", m.handle, func(f *instance.Facts) {
		f.MaxAttempts, f.SuspectAfter, f.Claim.Categories, f.Claim.FromConfig = 0, 0, claims[:n], n == 4
	})
}
