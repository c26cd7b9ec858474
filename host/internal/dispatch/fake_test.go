package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/backoff"
	"balhost/host/internal/entry"
	"balhost/host/internal/instance"
	"balhost/host/internal/route"
	"balhost/sdk/message"
	"balhost/sdk/wire"

	"github.com/hashicorp/go-hclog"
)

// fakeLedger keeps events in memory and commits at once, from its own
// goroutine as the real one does.
type fakeLedger struct {
	canceled []string // as Cancel was asked; mu guards it
	mu       sync.Mutex
	seq      uint64
	events   []entry.Event
	bodies   map[uint64]entry.Body
	since    map[uint64]time.Time
	leases   map[uint64]uint64
	owners   map[string]string
	changed  chan struct{}
	settled  []entry.Settlement
	asked    int // calls of Settle
	updates  []entry.Changes
	state    map[string]json.RawMessage
	stuck    chan struct{}  // what is not committed yet is when it is closed
	conflict map[uint64]int // by seq: so many commits answer ErrConflict
	broken   error          // what every Get gets
	refuse   error          // what every Done with changes gets

	updateConflicts int // so many updates answer ErrConflict

	timers map[string]uint64 // by key: the event that a schedule of the key ends
	void   map[uint64]bool   // these have ended so
}

func newLedger() *fakeLedger {
	return &fakeLedger{bodies: map[uint64]entry.Body{}, since: map[uint64]time.Time{}, leases: map[uint64]uint64{}, owners: map[string]string{}, state: map[string]json.RawMessage{"known": json.RawMessage(`"value"`)}, conflict: map[uint64]int{}, timers: map[string]uint64{}, void: map[uint64]bool{}}
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

func (f *fakeLedger) add(e entry.Event, b entry.Body) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	e.Seq = f.seq
	f.events = append(f.events, e)
	f.bodies[e.Seq], f.since[e.Seq] = b, time.Now()
	close(f.changed)
	f.changed = make(chan struct{})
	return e.Seq
}

func (f *fakeLedger) upstream(category, from, data string) uint64 {
	raw := json.RawMessage(fmt.Sprintf(`{"data":{"v":%q}}`, data))
	return f.add(entry.Event{Kind: entry.Upstream, Session: "1", Category: category, Device: hash(from)},
		entry.Body{Upstream: &message.Upstream{ID: "e-" + data, Category: category, From: from, MessageID: data, Raw: raw, Data: raw[len(`{"data":`) : len(raw)-1]}})
}

func (f *fakeLedger) outcome(plugin, group string) uint64 {
	e := entry.Event{Kind: entry.Outcome, Session: "1", Plugin: plugin}
	if group != "" {
		e.Group = hash(group)
	}
	return f.add(e, entry.Body{Outcome: &message.Outcome{Status: message.Acked, Group: group}})
}

func (f *fakeLedger) timer(plugin, key string, at entry.Lane) uint64 {
	seq := f.add(entry.Event{Kind: entry.Timer, Session: "1", Plugin: plugin, Lane: at},
		entry.Body{Timer: &message.Timer{ID: "e-" + key, Session: "1", Device: "anna", Key: key, Data: json.RawMessage(`1`), Due: time.UnixMilli(5)}})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timers[key] = seq
	return seq
}

func (f *fakeLedger) Events(after uint64, most int) []entry.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []entry.Event
	for _, e := range f.events {
		if e.Seq > after && len(all) < most {
			all = append(all, e)
		}
	}
	return all
}

func (f *fakeLedger) EventSince(seq uint64) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.events, func(e entry.Event) bool { return e.Seq == seq }) {
		return time.Time{}
	}
	return f.since[seq]
}

func (f *fakeLedger) EventsChanged() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeLedger) Body(seq uint64) (entry.Body, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.void[seq] {
		return entry.Body{}, entry.ErrVoid
	}
	if b, ok := f.bodies[seq]; ok {
		return b, nil
	}
	return entry.Body{}, entry.ErrUnknown
}

func (f *fakeLedger) Lease(seq, lease uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leases[seq] = lease
}

func (f *fakeLedger) Settle(s entry.Settlement, done func(error)) {
	f.mu.Lock()
	stuck := f.stuck
	f.asked++
	f.mu.Unlock()
	go func() {
		if stuck != nil {
			<-stuck
		}
		done(f.settle(s))
	}()
}

func (f *fakeLedger) settle(s entry.Settlement) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.events, func(e entry.Event) bool { return e.Seq == s.Seq })
	switch {
	case i < 0:
		return entry.ErrUnknown
	case f.leases[s.Seq] != s.Lease, f.void[s.Seq] != (s.Verdict == entry.Void):
		return entry.ErrLease
	case f.conflict[s.Seq] > 0 && (s.Verdict == entry.Done || len(s.Changes.Reads)+len(s.Changes.Ranges) > 0):
		f.conflict[s.Seq]--
		var c entry.Conflict
		for _, r := range s.Changes.Reads {
			c.Keys = append(c.Keys, r.Key)
		}
		for _, r := range s.Changes.Ranges {
			c.Prefixes = append(c.Prefixes, r.Prefix)
		}
		return &c
	case s.Verdict == entry.Done && f.refuse != nil && !s.Changes.Empty():
		return f.refuse
	}
	f.settled = append(f.settled, s)
	if s.Verdict == entry.Retry {
		f.events[i].Attempts++
		f.events[i].Due = s.Due
		return nil
	}
	was := f.events[i]
	f.events = slices.Delete(f.events, i, i+1)
	if s.Verdict == entry.Again {
		f.seq++
		was.Seq, was.Attempts = f.seq, 0
		f.events, f.bodies[f.seq], f.since[f.seq] = append(f.events, was), f.bodies[s.Seq], time.Now()
		close(f.changed)
		f.changed = make(chan struct{})
	}
	return nil
}

func (f *fakeLedger) ends() []entry.Settlement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.settled)
}

// settles is how often Settle was called.
func (f *fakeLedger) settles() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// conflicts is how many commits of an event will be answered with ErrConflict.
func (f *fakeLedger) conflicts(seq uint64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conflict[seq]
}

func (f *fakeLedger) pending() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.events)
}

// errNoState is the ledger's answer when the API, "", asks for state.
var errNoState = errors.New("no plugin, no state")

// put sets a key of every plugin's state.
func (f *fakeLedger) put(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[key] = []byte(value)
}

// breaks makes the ledger answer with an error, until it is nil.
func (f *fakeLedger) breaks(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = err
}

func (f *fakeLedger) Get(plugin, key string) (json.RawMessage, uint64, error) {
	if plugin == "" {
		return nil, 0, errNoState
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, 0, f.broken
	}
	return f.state[key], 7, nil
}

func (f *fakeLedger) List(plugin string, s entry.Span) (entry.Listing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return entry.Listing{}, f.broken
	}
	var out entry.Listing
	for _, key := range slices.Sorted(maps.Keys(f.state)) {
		if strings.HasPrefix(key, s.Prefix) && key > s.After {
			out.Items = append(out.Items, entry.Item{Key: key, Value: f.state[key], Version: 7})
			out.Digest.See(7)
		}
	}
	return out, nil
}

// Cancel cancels what was sent, once.
func (f *fakeLedger) Cancel(plugin string, which []entry.Cancel, done func(int, error)) {
	f.mu.Lock()
	n := 0
	for _, c := range which {
		f.canceled = append(f.canceled, plugin+" "+c.Session+" "+c.MessageID)
		for _, u := range f.updates {
			for _, s := range u.Sends {
				if s.Message.MessageID == c.MessageID && s.Message.Session == c.Session {
					n++
				}
			}
		}
	}
	f.mu.Unlock()
	go done(n, nil)
}

func (f *fakeLedger) Update(plugin string, c entry.Changes, done func(error)) {
	if plugin == "" && len(c.Writes) > 0 {
		go done(errNoState)
		return
	}
	f.mu.Lock()
	if f.updateConflicts > 0 {
		f.updateConflicts--
		f.mu.Unlock()
		go done(&entry.Conflict{Keys: []string{c.Reads[0].Key}})
		return
	}
	f.updates = append(f.updates, c)
	for i := range c.Schedules {
		if seq := f.timers[c.Schedules[i].Key]; seq != 0 {
			c.Schedules[i].Ended, f.void[seq] = seq, true
		}
	}
	for _, w := range c.Writes {
		if f.state[w.Key] = w.Value; w.Value == nil {
			delete(f.state, w.Key)
		}
	}
	stuck := f.stuck
	f.mu.Unlock()
	go func() {
		if stuck != nil {
			<-stuck
		}
		done(nil)
	}()
}

func (f *fakeLedger) Owner(category string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owners[category]
}

func (f *fakeLedger) SetOwner(category, plugin string, done func(error)) {
	f.mu.Lock()
	f.owners[category] = plugin
	f.mu.Unlock()
	go done(nil)
}

// process is a fake plugin: what it is handed, and what it answers.
type process struct {
	t       *testing.T
	d       *Dispatcher
	plugin  *Instance
	mu      sync.Mutex
	got     []*wire.Delivery
	frames  []*wire.HostFrame
	killed  []string
	triers  int // asked for
	retired bool
	handle  func(*process, *wire.Delivery) // nil: keeps it
}

func (p *process) Send(f *wire.HostFrame) {
	p.mu.Lock()
	p.got = append(p.got, f.Deliver...)
	p.frames = append(p.frames, f)
	p.mu.Unlock()
	if p.handle != nil {
		for _, m := range f.Deliver {
			p.handle(p, m)
		}
	}
}

func (p *process) Kill(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = append(p.killed, reason)
}

// kills are the reasons so far.
func (p *process) kills() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.killed)
}

func (p *process) StartTrier() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.triers++
}

func (p *process) Retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
}

func (p *process) deliveries() []*wire.Delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// ids are the message ids of the upstreams handed out, in order.
func (p *process) ids() []string {
	var ids []string
	for _, m := range p.deliveries() {
		ids = append(ids, m.GetUpstream().GetMessageId())
	}
	return ids
}

func (p *process) last() *wire.Delivery {
	p.t.Helper()
	got := p.deliveries()
	if len(got) == 0 {
		p.t.Fatal("nothing was handed out")
	}
	return got[len(got)-1]
}

func (p *process) done(m *wire.Delivery) {
	p.plugin.Frame(&wire.PluginFrame{Done: []uint64{m.Delivery}})
}

func (p *process) result(r *wire.Result) {
	p.plugin.Frame(&wire.PluginFrame{Result: []*wire.Result{r}})
}

// drained says what the SDK says when nothing is left to do.
func (p *process) drained() { p.plugin.Frame(&wire.PluginFrame{Drained: true}) }

func done(p *process, m *wire.Delivery) { p.done(m) }

// bench is a dispatcher in a synctest bubble.
type bench struct {
	*testing.T
	d      *Dispatcher
	ledger *fakeLedger
	log    *strings.Builder // to be read while all goroutines wait
}

// start runs test in a bubble with a dispatcher over the ledger, before the end of boot.
func start(t *testing.T, ledger *fakeLedger, test func(b *bench), change ...func(*Dispatcher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ledger.changed = make(chan struct{}) // belongs to this bubble
		ctx, cancel := context.WithCancel(t.Context())
		log := &strings.Builder{}
		d := New(Options{Ledger: ledger, Log: hclog.New(&hclog.LoggerOptions{Output: log}), Senders: func() entry.Senders { return entry.Senders{{Name: "main", ID: "1"}} }, Retry: backoff.Policy{Min: time.Second, Max: time.Minute}})
		for _, c := range change {
			c(d)
		}
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		test(&bench{T: t, d: d, ledger: ledger, log: log})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// booted is start with a new ledger, past boot.
func booted(t *testing.T, test func(b *bench), change ...func(*Dispatcher)) {
	t.Helper()
	start(t, newLedger(), func(b *bench) {
		b.d.Booted()
		test(b)
	}, change...)
}

// upstreams come from one device, for the app.
func (b *bench) upstreams(device string, ids ...string) {
	for _, id := range ids {
		b.ledger.upstream("app", device, id)
	}
}

// echo makes a ready plugin for the app.
func (b *bench) echo(handle func(*process, *wire.Delivery), change ...func(*instance.Facts)) *process {
	b.Helper()
	return b.plugin("echo", "app", handle, change...)
}

// unordered is a plugin whose events wait for no other; asTrier is the process in
// which a suspect is tried.
func unordered(f *instance.Facts) { f.Order = route.Order{} }
func asTrier(f *instance.Facts)   { f.Trier = true }

// plugin makes a ready plugin for category, in order of devices.
func (b *bench) plugin(name, category string, handle func(*process, *wire.Delivery), change ...func(*instance.Facts)) *process {
	b.Helper()
	p := &process{t: b.T, d: b.d, handle: handle}
	order, _ := route.ParseOrder("device")
	facts := instance.Facts{
		Name: name, Closed: make(chan struct{}), Claim: route.Claim{Plugin: name, Categories: []string{category}}, Order: order,
		Outcome: true, Receipt: true, Timer: true, MaxAttempts: 3, HandlerTimeout: 30 * time.Second, MaxInFlight: 8, SuspectAfter: 3,
	}
	for _, c := range change {
		c(&facts)
	}
	p.plugin = b.d.Described(facts, p).(*Instance)
	p.plugin.Ready()
	return p
}

func (b *bench) status() Status {
	b.Helper()
	s, err := b.d.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (b *bench) wantIDs(p *process, want ...string) {
	b.Helper()
	synctest.Wait()
	if got := p.ids(); !slices.Equal(got, want) {
		b.Fatalf("%s was handed %q, want %q", p.plugin.Name, got, want)
	}
}

// retire does with a process what pluginhost does when another one is Ready in
// its place: Drain, and Gone when it is empty or at the limit. The channel gets
// Drain's error when the process is gone.
func (b *bench) retire(p *process, limit time.Duration) <-chan error {
	b.Helper()
	gone := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(b.Context(), limit)
		defer cancel()
		err := p.plugin.Drain(ctx)
		p.plugin.Gone("another version takes over")
		gone <- err
	}()
	synctest.Wait()
	return gone
}

// wantEnded waits for the ends of what runs beside the test: no error.
func (b *bench) wantEnded(ends ...<-chan error) {
	b.Helper()
	for _, end := range ends {
		if err := <-end; err != nil {
			b.Fatal(err)
		}
	}
}
