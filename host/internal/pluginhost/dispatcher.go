package pluginhost

import (
	"cmp"
	"slices"

	"balhost/host/internal/instance"
	"balhost/host/internal/plain"
	"balhost/host/internal/route"
	"balhost/sdk/wire"
)

// Dispatcher is what pluginhost needs from whoever gives plugins their events.
type Dispatcher interface {
	// Described: a process's session is open and its categories are known, so its
	// claims count from now on. It is being configured and gets no events yet; but
	// its Start may already call, and is answered through p.Send. What it returns
	// hears of the rest of the process's life.
	Described(facts instance.Facts, p instance.Process) instance.Dispatch
	// Removed: the plugin's file is gone, and so is its process.
	Removed(name string)
	// Booted is called once: every plugin that was in the folder at the start
	// has been Described or has failed, or has had 15 s for it.
	Booted()
}

// Facts are what the dispatcher must know of a plugin that says m of itself. Where
// the config says nothing, the plugin's own words count. What is of one process is
// not in it: Content, Closed and Trier.
func Facts(o PluginOptions, m *wire.Manifest) (instance.Facts, error) {
	order, err := route.ParseOrder(cmp.Or(o.Order, m.GetOrder()))
	if err != nil {
		return instance.Facts{}, err
	}
	claim := route.Claim{Plugin: m.GetName(), Categories: o.Categories, FromConfig: o.Categories != nil}
	if !claim.FromConfig {
		claim.Categories = slices.Clone(m.GetCategories())
	}
	return instance.Facts{
		Name: m.GetName(), Version: plain.Line(m.GetVersion(), 64), Claim: claim, Order: order, Outcome: m.GetOutcome(), Receipt: m.GetReceipt(), Timer: m.GetTimer(),
		Offsets:     slices.Contains(m.GetCapabilities(), wire.Offsets),
		MaxAttempts: o.MaxAttempts, HandlerTimeout: o.HandlerTimeout, MaxInFlight: o.MaxInFlight, SuspectAfter: o.SuspectAfter,
		Alone: o.Strategy == Recreate, Debug: o.Debug,
	}, nil
}
