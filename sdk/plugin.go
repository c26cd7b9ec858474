package sdk

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"balhost/sdk/wire"
)

// Plugin is one plugin: what it is called, what it takes, and its handlers.
// Name is needed, and at least one of Upstream, Outcome, Receipt and Run.
type Plugin struct {
	// Name is the plugin's identity for its lanes, state and outcomes. It must
	// be the name of the file that the host starts: letters, digits, '_' and
	// '-', 64 at most, beginning with a letter or digit.
	Name    string
	Version string // shown in the host's status

	// Categories are the apps whose upstreams the plugin takes: package names
	// or bundle ids. "*" takes what no other plugin claims.
	Categories []string
	// Order says which upstreams are handled one after the other. The zero
	// value is OrderByDevice.
	Order Order
	// MaxInFlight is how many handlers may run at once; 0 is 256.
	MaxInFlight int

	// Config is a pointer to a struct, or nil. Before Start the config object
	// of the host's config.hcl is decoded into it by its json tags: what is in
	// it then are the defaults, and a key that it does not have is an error.
	Config any

	// Start prepares the plugin, after Config was decoded. An error refuses to
	// go on: the host stops this process and shows the error. It can run while
	// an older instance of the plugin still serves. ctx ends with Start.
	Start func(ctx context.Context, h *Host) error
	// Run is for timers and pollers. It never runs in two instances at once,
	// and should return when ctx ends. Returning nil is its end; after an error
	// or a panic it is started again, with a growing delay of up to a minute.
	Run func(ctx context.Context, h *Host) error

	// The handlers. nil: done, and what the Tx holds is committed. [Retry],
	// [Reject], any other error or a panic: nothing is committed, and the event
	// comes again, or goes to the dead letters. ctx ends at the handler's
	// timeout and when the plugin must stop; return soon after: until then the
	// lane waits, and a plugin in which a quarter of MaxInFlight handlers don't
	// return is killed as hung.

	// Upstream handles one message of a device.
	Upstream func(ctx context.Context, tx *Tx, m Upstream) error
	// Outcome hears how a downstream of this plugin ended. Without it outcomes
	// are recorded only. It runs beside Upstream, in lanes of its own: see Lanes
	// in the package's comment for what that means for the state.
	Outcome func(ctx context.Context, tx *Tx, o Outcome) error
	// Receipt hears that a device confirmed a downstream of this plugin that
	// had Options.ReceiptRequested.
	Receipt func(ctx context.Context, tx *Tx, r Receipt) error

	// Stop is called once, after Run and all handlers have ended and before the
	// process ends, if Start has succeeded. The Host still works in it.
	Stop func(ctx context.Context) error
}

// defaultInFlight is the credit measured to be enough (notes/goplugin.md §3).
const defaultInFlight = 256

// Order is a rule for which of a plugin's upstreams make a lane (P5).
type Order string

// The rules without a parameter; see also [OrderByKey].
const (
	OrderNone     Order = "none"   // no order: each upstream by itself
	OrderByDevice Order = "device" // one device's upstreams one after the other
)

// OrderByKey puts upstreams with an equal value at path in one lane. The path
// is dotted into the payload: "data.room". Where it leads to nothing or null,
// the device is the lane.
func OrderByKey(path string) Order { return Order("key:" + path) }

// inFlight is the credit that the host gets.
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
		Upstream: p.Upstream != nil, Outcome: p.Outcome != nil, Receipt: p.Receipt != nil,
	}
}

// check says what an author has forgotten.
func (p *Plugin) check() error {
	if p.Upstream == nil && p.Outcome == nil && p.Receipt == nil && p.Run == nil {
		return errors.New("plugin does nothing: set at least one of Upstream, Outcome, Receipt and Run")
	}
	if p.MaxInFlight < 0 || p.MaxInFlight > 1<<16 {
		return fmt.Errorf("plugin %s: MaxInFlight is %d: it must be between 1 and 65536, or 0 for %d", p.Name, p.MaxInFlight, defaultInFlight)
	}
	if p.Config != nil {
		if t := reflect.TypeOf(p.Config); t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct || reflect.ValueOf(p.Config).IsNil() {
			return fmt.Errorf("plugin %s: Config is a %T: it must be a pointer to a struct", p.Name, p.Config)
		}
	}
	return wire.CheckManifest(p.Name, p.manifest())
}
