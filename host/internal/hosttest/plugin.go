package hosttest

import (
	"cmp"
	"context"
	"time"

	"balhost/host/internal/config"
	"balhost/host/internal/pluginhost"
	"balhost/sdk/wire"
)

// Plugin is a plugin whose program is a function. Name, Categories, Order and
// Handle are needed; what is zero of the others gets the default that is named.
type Plugin struct {
	Name             string
	Categories       []string
	Order            string // "none", "device" or "key:PATH"
	Outcome, Receipt bool   // it has such a handler
	Timer            bool   // the same

	MaxAttempts    int           // 0: for ever
	HandlerTimeout time.Duration // 30 s
	MaxInFlight    int           // 16
	SuspectAfter   int           // 0: never
	Alone          bool          // a second process can't run beside it
	Restart        time.Duration // from an exit to the next process; 100 ms

	// Handle handles one delivery, in a goroutine of its own. Its context ends
	// when its time is up and when the process exits. The result's number is
	// filled in; nil never answers.
	Handle func(ctx context.Context, p *Process, d *wire.Delivery) *wire.Result

	// What follows tells the test's books what happens, before anything comes
	// of it; nil tells nothing. Exiting is called when a process is to be
	// killed or to die, and says how long it still takes: until then it goes
	// on handling, and its results still count.
	Delivered func(p *Process, d *wire.Delivery)
	Answered  func(p *Process, r *wire.Result)
	Exiting   func(p *Process) time.Duration
	Exited    func(p *Process)
}

// config is the plugin's block in config.hcl.
func (p *Plugin) config() config.Plugin {
	c := config.Plugin{
		Name: p.Name, Order: p.Order, MaxAttempts: p.MaxAttempts, HandlerTimeout: cmp.Or(p.HandlerTimeout, 30*time.Second),
		DrainTimeout: 2 * time.Second, MaxInFlight: cmp.Or(p.MaxInFlight, 16), SuspectAfter: p.SuspectAfter,
	}
	if p.Alone {
		c.Strategy = string(pluginhost.Recreate)
	}
	return c
}

// manifest is what the plugin says of itself.
func (p *Plugin) manifest() *wire.Manifest {
	return &wire.Manifest{Name: p.Name, Categories: p.Categories, Order: p.Order, Upstream: true, Outcome: p.Outcome, Receipt: p.Receipt, Timer: p.Timer}
}
