package pluginhost

import (
	"cmp"
	"slices"

	"balhost/host/internal/instance"
	"balhost/host/internal/route"
	"balhost/sdk/wire"
)

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
		Name: m.GetName(), Claim: claim, Order: order, Outcome: m.GetOutcome(), Receipt: m.GetReceipt(),
		MaxAttempts: o.MaxAttempts, HandlerTimeout: o.HandlerTimeout, MaxInFlight: o.MaxInFlight, SuspectAfter: o.SuspectAfter,
		Alone: o.Strategy == Recreate,
	}, nil
}
