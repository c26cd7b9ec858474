package hosttest

import (
	"context"
	"time"

	"balhost/host/internal/instance"
	"balhost/host/internal/route"
	"balhost/sdk/wire"
)

// Plugin is a plugin whose program is a function. Name, Categories, Order and
// Handle are needed; what is zero of the others gets the default that is named.
type Plugin struct {
	Name             string
	Categories       []string
	Order            string // "none", "device" or "key:PATH"
	Outcome, Receipt bool   // it has such a handler

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

// facts are what dispatch knows of one process.
func (p *Plugin) facts(process *Process, trier bool) (instance.Facts, error) {
	order, err := route.ParseOrder(p.Order)
	if err != nil {
		return instance.Facts{}, err
	}
	f := instance.Facts{
		Name: p.Name, Closed: process.closed,
		Claim: route.Claim{Plugin: p.Name, Categories: p.Categories}, Order: order,
		Outcome: p.Outcome, Receipt: p.Receipt,
		MaxAttempts: p.MaxAttempts, HandlerTimeout: p.HandlerTimeout, MaxInFlight: p.MaxInFlight,
		SuspectAfter: p.SuspectAfter, Alone: p.Alone, Trier: trier,
	}
	if f.HandlerTimeout == 0 {
		f.HandlerTimeout = 30 * time.Second
	}
	if f.MaxInFlight == 0 {
		f.MaxInFlight = 16
	}
	return f, nil
}
