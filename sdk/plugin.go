package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"balhost/sdk/wire"
)

// Plugin describes one plugin: its name, what it takes, and its handlers. Set
// Name, and at least one of Upstream, Outcome, Receipt, Timer and Run.
//
// Upstream, Outcome, Receipt and Timer are the handlers. What a handler returns decides:
//
//   - nil: the event is handled, and what the Tx holds is committed.
//   - [Reject]: nothing is committed. The event goes to the dead letters.
//   - [Retry], any other error, or a panic: nothing is committed. The event comes
//     again, and goes to the dead letters after max_attempts.
//
// A handler's ctx ends at the handler's timeout, and when the plugin must stop. Return
// soon after that: the lane waits until then. If a quarter of MaxInFlight handlers
// don't return, the host kills the plugin as hung.
type Plugin struct {
	// Name is the plugin's identity. Its lanes, state and outcomes belong to this
	// name. It must be the name of the file that the host starts. It has letters,
	// digits, '_' and '-', 64 at most, and begins with a letter or digit.
	Name    string
	Version string // shown in the host's status

	// Categories are the apps whose upstreams the plugin takes: package names
	// or bundle ids. "*" takes what no other plugin claims.
	Categories []string
	// Order says which upstreams are handled one after the other. The zero
	// value is OrderByDevice.
	Order Order
	// MaxInFlight is how many handlers may run at once: 1 to 65536. 0 means 256.
	MaxInFlight int

	// Config is a pointer to a struct, or nil. Before Start the SDK decodes the
	// plugin's config object (in the host's config.hcl) into it, by its json tags.
	// Values that are in the struct before are the defaults. A key that the struct
	// does not have is an error.
	Config any

	// Start prepares the plugin. It runs after Config was decoded. If it returns
	// an error, the host stops this process and shows the error. It can run while
	// an older instance of the plugin still serves. ctx ends when Start returns.
	Start func(ctx context.Context, h *Host) error
	// Run is for pollers, and for all that goes on between events; for what must happen at
	// a time, [Tx.Schedule] is better, because it survives a crash. It never runs in two instances at once. It
	// should return when ctx ends. If it returns nil, it is not started again.
	// After an error or a panic it is started again, after a delay that grows up to
	// a minute.
	Run func(ctx context.Context, h *Host) error

	// Upstream handles one message of a device.
	Upstream func(ctx context.Context, tx *Tx, m Upstream) error
	// Outcome is told how a downstream of this plugin ended. Without this handler
	// outcomes are only recorded. It has lanes of its own, so it can run at the same
	// time as Upstream: see Lanes in the package's comment.
	Outcome func(ctx context.Context, tx *Tx, o Outcome) error
	// Receipt is told that a device confirmed a downstream of this plugin. Only
	// downstreams with Options.ReceiptRequested get receipts.
	Receipt func(ctx context.Context, tx *Tx, r Receipt) error
	// Timer is told that a timer is due which this plugin has set with [Tx.Schedule].
	// Without this handler none can be set, and one that was set before is done at once.
	Timer func(ctx context.Context, tx *Tx, t Timer) error

	// Metrics writes metrics of the plugin's own, in Prometheus's text format: what
	// promhttp answers, or a few lines by fmt.Fprintf. The host calls it when it is
	// scraped, and gives them on with the label plugin. It has a second for this, and
	// takes 1 MiB and 2,000 series at most, no label named plugin, and no names that begin
	// with balhost_, go_, process_ or scrape_, and none called up, which Prometheus makes
	// itself. So use a registry of its own: the default one of Prometheus's library has go_
	// and process_. Calls don't overlap, and come after Start.
	Metrics func(ctx context.Context, w io.Writer) error

	// Stop is called once, before the process ends: after Run and all handlers have
	// ended, and only if Start has succeeded. The methods of Host still work in it.
	Stop func(ctx context.Context) error
}

// defaultInFlight was measured to be enough (notes/goplugin.md §3).
const defaultInFlight = 256

// Order says which of a plugin's upstreams share a lane (P5).
type Order string

// The orders without a parameter; see also [OrderByKey].
const (
	OrderNone     Order = "none"   // no order: each upstream has a lane of its own
	OrderByDevice Order = "device" // the upstreams of one device share a lane
)

// OrderByKey puts upstreams with an equal value at path in one lane. The path is
// a list of names in the payload, joined by dots: "data.room". If the payload has
// nothing or null there, the upstream goes to its device's lane.
func OrderByKey(path string) Order { return Order("key:" + path) }

// inFlight is how many unfinished events the host may give to this plugin.
func (p *Plugin) inFlight() int {
	if p.MaxInFlight == 0 {
		return defaultInFlight
	}
	return p.MaxInFlight
}

// manifest is the plugin's answer to Describe.
func (p *Plugin) manifest() *wire.Manifest {
	order := p.Order
	if order == "" {
		order = OrderByDevice
	}
	return &wire.Manifest{
		Name: p.Name, Version: p.Version, Categories: p.Categories, Order: string(order),
		Upstream: p.Upstream != nil, Outcome: p.Outcome != nil, Receipt: p.Receipt != nil, Timer: p.Timer != nil,
	}
}

// check says what is wrong with p.
func (p *Plugin) check() error {
	if p.Upstream == nil && p.Outcome == nil && p.Receipt == nil && p.Timer == nil && p.Run == nil {
		return errors.New("plugin does nothing: set at least one of Upstream, Outcome, Receipt, Timer and Run")
	}
	if p.MaxInFlight < 0 || p.MaxInFlight > 1<<16 {
		return fmt.Errorf("plugin %s: MaxInFlight is %d: use 1 to 65536, or 0 for %d", p.Name, p.MaxInFlight, defaultInFlight)
	}
	if p.Config != nil {
		if t := reflect.TypeOf(p.Config); t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || reflect.ValueOf(p.Config).IsNil() {
			return fmt.Errorf("plugin %s: Config is %T: use a pointer to a struct", p.Name, p.Config)
		}
	}
	return wire.CheckManifest(p.Name, p.manifest())
}
