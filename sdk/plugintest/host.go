// Package plugintest is a host for the tests of plugin authors. It runs a plugin in
// the test's own process, over real gRPC. The test gives the plugin events and looks
// at what it has sent and stored.
//
// It commits as the real host does (P7). A handler's downstreams and state are
// committed when it returns nil, all or nothing. If another commit has changed a key
// that the handler read, the handler runs again, also after an error. If a handler
// goes on after its ctx has ended, the test fails, because a real host may kill the
// plugin for that.
//
// What is rare in a real host has a call here: [Host.BeforeCommit] for a conflict, [Host.Crash]
// and [Host.Reload], [Host.Refuse] for a full disk. Options name several sessions, and the time
// that a handler has.
//
// There are no devices, no disk and no lanes: each event goes to the plugin at once.
//
//	h := plugintest.New(t, plugin, plugintest.Options{})
//	r := h.Upstream(sdk.Upstream{From: "ann", Data: plugintest.JSON(map[string]string{"say": "hi"})})
//	if r.Err() != nil || len(r.Sent) != 1 { … }
//
// Start at [New] and [Host.Upstream].
package plugintest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"balhost/sdk"
	"balhost/sdk/logs"
	"balhost/sdk/wire"

	hclog "github.com/hashicorp/go-hclog"
)

const (
	// patience is how long each wait for the plugin may last before the test fails.
	patience = 30 * time.Second
	// hungGrace is how long a handler may go on after its timeout, as in the host.
	hungGrace = 5 * time.Second
)

// Options are for New and Refusal. The zero value works.
type Options struct {
	Config         any           // marshalled to the plugin's config object; nil: no config
	Sessions       []string      // names of the host's sessions; nil: one session, "main"; events and downstreams name only these
	HandlerTimeout time.Duration // after this a handler's ctx ends; 0: 30 s

	// Transports are those of the sessions, by their names. A session that is not there
	// has sdk.CCS.
	Transports map[string]sdk.Transport
}

// Host runs one plugin. Its methods may be called from any goroutine.
type Host struct {
	t      testing.TB
	opts   Options
	config []byte
	log    hclog.Logger
	store  *store

	changing sync.Mutex // held by Reload, Crash and Stop

	mu      sync.Mutex // guards what follows
	plugin  sdk.Plugin
	now     *instance     // nil after Stop
	changed chan struct{} // closed and replaced when now changes
	before  func()        // what BeforeCommit has set
}

// New starts the plugin as a host does: Describe, then Start with its config, then
// Run. If the plugin does not start, the test fails. The plugin is stopped when the
// test ends.
func New(t testing.TB, p sdk.Plugin, o Options) *Host {
	t.Helper()
	h, err := open(t, p, o)
	if err != nil {
		t.Fatalf("plugintest: %v", err)
	}
	return h
}

// Refusal starts a plugin that should not start, and returns why it did not: an error
// in the Plugin value, in its config, or from its Start. nil: it did start.
func Refusal(t testing.TB, p sdk.Plugin, o Options) error {
	t.Helper()
	h, err := open(t, p, o)
	if err == nil {
		h.Stop()
	}
	return err
}

func open(t testing.TB, p sdk.Plugin, o Options) (*Host, error) {
	if o.Sessions == nil {
		o.Sessions = []string{"main"}
	}
	h := &Host{t: t, opts: o, plugin: p, store: newStore(o.Sessions, o.Transports), changed: make(chan struct{})}
	if o.HandlerTimeout == 0 {
		h.opts.HandlerTimeout = 30 * time.Second
	}
	if o.Config != nil {
		h.config = JSON(o.Config)
	}
	h.log = logs.New(&hclog.LoggerOptions{Name: p.Name, Level: hclog.Debug, Output: logTo(t)})
	first, err := h.start(p)
	if err != nil {
		return nil, err
	}
	h.now = first
	first.session.Send(&wire.HostFrame{Run: true})
	t.Cleanup(h.Stop)
	return h, nil
}

// start makes an instance and runs its Start.
func (h *Host) start(p sdk.Plugin) (*instance, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, fmt.Errorf("no answer within %v", patience))
	defer cancel()
	c := &wire.ConfigureRequest{Config: h.config, LogLevel: "debug", Sessions: h.opts.Sessions}
	for _, name := range h.opts.Sessions {
		c.Transports = append(c.Transports, string(cmp.Or(h.opts.Transports[name], sdk.CCS)))
	}
	return openInstance(ctx, p, h.log, h.store, c)
}

// Stop drains the plugin and ends it. This happens at the end of the test too.
func (h *Host) Stop() {
	h.changing.Lock()
	defer h.changing.Unlock()
	if old := h.swap(nil); old != nil {
		if err := old.drain(); err != nil {
			h.t.Errorf("plugintest: stop: %v", err)
		}
	}
}

// Reload replaces the plugin by p, as a new file in the plugins folder does: p starts,
// the old plugin drains, and then p's Run begins. The state and the sent downstreams
// stay. Events that the old plugin gives back go to p. If p does not start, the test
// fails, and the old plugin goes on.
func (h *Host) Reload(p sdk.Plugin) {
	h.changing.Lock()
	defer h.changing.Unlock()
	next, err := h.start(p)
	if err != nil {
		h.t.Errorf("plugintest: reload: %v; the old plugin goes on", err)
		return
	}
	h.mu.Lock()
	old := h.now
	h.mu.Unlock()
	if err := old.drain(); err != nil {
		h.t.Errorf("plugintest: reload: %v", err)
	}
	h.plugin = p
	h.swap(next)
	next.session.Send(&wire.HostFrame{Run: true})
}

// Crash does what kill -9 does, as far as that is possible in one process: the
// connection is cut, and what handlers do from then on is lost. A new instance of the
// same Plugin value starts. It gets the events that the old one held.
func (h *Host) Crash() {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.mu.Lock()
	old, p := h.now, h.plugin
	h.mu.Unlock()
	old.cut()
	next, err := h.start(p)
	if err != nil {
		h.t.Errorf("plugintest: start after crash: %v", err)
	}
	h.swap(next)
	if next != nil {
		next.session.Send(&wire.HostFrame{Run: true})
	}
}

// swap makes next the instance that gets events, and returns the old one.
func (h *Host) swap(next *instance) *instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.now
	h.now = next
	close(h.changed)
	h.changed = make(chan struct{})
	return old
}

// Upstream gives the plugin a device's message and waits for the result. Empty fields
// get values: a new ID and MessageID, the first session, From "device", the plugin's
// first category, Attempt 1, Received now, and a Raw that contains Data.
func (h *Host) Upstream(m sdk.Upstream) Result {
	h.mu.Lock()
	categories := h.plugin.Categories
	h.mu.Unlock()
	if m.Category == "" && len(categories) > 0 && categories[0] != "*" {
		m.Category = categories[0]
	}
	fill(&m.ID, ids.next())
	fill(&m.Session, h.opts.Sessions[0])
	fill(&m.From, "device")
	fill(&m.MessageID, "m-"+m.ID)
	if m.Received.IsZero() {
		m.Received = time.Now()
	}
	if m.Raw == nil {
		m.Raw = JSON(map[string]any{"from": m.From, "category": m.Category, "message_id": m.MessageID, "data": m.Data})
	}
	return h.deliver(&wire.Delivery{Attempt: uint32(max(m.Attempt, 1)), Event: &wire.Delivery_Upstream{Upstream: wire.UpstreamToProto(&m)}})
}

// Outcome tells the plugin how a downstream ended, and waits for the result. Empty
// fields get values: a new ID, the first session, Attempt 1 and Attempts 1.
func (h *Host) Outcome(o sdk.Outcome) Result {
	fill(&o.ID, ids.next())
	fill(&o.Session, h.opts.Sessions[0])
	o.Attempts = max(o.Attempts, 1)
	return h.deliver(&wire.Delivery{Attempt: uint32(max(o.Attempt, 1)), Event: &wire.Delivery_Outcome{Outcome: wire.OutcomeToProto(&o)}})
}

// Receipt gives the plugin a delivery receipt, and waits for the result. Empty fields
// get values: a new ID, the first session, Status "MESSAGE_SENT_TO_DEVICE", SentAt
// now and Attempt 1.
func (h *Host) Receipt(r sdk.Receipt) Result {
	fill(&r.ID, ids.next())
	fill(&r.Session, h.opts.Sessions[0])
	fill(&r.Status, "MESSAGE_SENT_TO_DEVICE")
	if r.SentAt.IsZero() {
		r.SentAt = time.Now()
	}
	return h.deliver(&wire.Delivery{Attempt: uint32(max(r.Attempt, 1)), Event: &wire.Delivery_Receipt{Receipt: wire.ReceiptToProto(&r)}})
}

func fill(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// deliver gives an event to the plugin until it has a result that counts: again after
// a conflict, and to the next instance if the first gave it back or died.
func (h *Host) deliver(d *wire.Delivery) Result {
	d.TimeoutMs = uint32(h.opts.HandlerTimeout.Milliseconds())
	for runs := 1; ; {
		h.mu.Lock()
		in, changed := h.now, h.changed
		h.mu.Unlock()
		if in == nil {
			h.t.Errorf("plugintest: the plugin is stopped and can't get this event")
			return Result{Status: Released}
		}
		r, returned := in.deliver(d, h.opts.HandlerTimeout+hungGrace)
		if returned && r != nil && r.Code != wire.Result_RELEASE {
			h.meddle()
		}
		switch {
		case !returned:
			h.t.Errorf("plugintest: a handler has not returned %v after the end of its ctx (HandlerTimeout is %v). In a real host its lane waits, and when a quarter of MaxInFlight handlers hang like this, the host kills the plugin",
				hungGrace, h.opts.HandlerTimeout)
			return Result{Status: Hung, Runs: runs}
		case r == nil || r.Code == wire.Result_RELEASE: // the instance ends; wait for the next one
			select {
			case <-changed:
			case <-time.After(patience):
				h.t.Errorf("plugintest: the plugin closed its connection by itself, or gave an event back although it was not stopped")
				return Result{Status: Released, Runs: runs}
			}
		case r.Code == wire.Result_DONE:
			sent, err := h.store.commit(r.Changes, d)
			if err == errConflict {
				runs++
				continue
			}
			if err == errReplaced {
				return Result{Status: Canceled, Reason: err.Error(), Runs: runs}
			}
			if _, retry := errors.AsType[unknownSession](err); retry {
				return Result{Status: Retried, Reason: err.Error(), Delay: -1, Runs: runs}
			}
			if err != nil {
				h.t.Errorf("plugintest: commit: %v", err)
			}
			return Result{Status: Done, Sent: sent, Runs: runs}
		case h.store.stale(r.Changes): // a key that it read has changed: the error does not count
			runs++
		default:
			return Result{
				Status: Status(r.Code), Reason: r.Error, Runs: runs,
				Delay: max(time.Duration(r.DelayMs)*time.Millisecond, -1),
			}
		}
	}
}

// JSON marshals v. It panics if that is not possible.
func JSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("plugintest.JSON: %v", err))
	}
	return b
}

// Decode decodes v, the Data or Notification of a downstream, into into. It panics if
// v does not fit.
func Decode(v, into any) {
	if err := json.Unmarshal(JSON(v), into); err != nil {
		panic(fmt.Sprintf("plugintest.Decode: %v", err))
	}
}
