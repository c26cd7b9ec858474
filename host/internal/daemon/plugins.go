package daemon

import (
	"context"
	"sync"

	"balhost/host/internal/dispatch"
	"balhost/host/internal/pluginhost"
	"balhost/host/internal/route"
	"balhost/sdk/wire"
)

// plugins is pluginhost's Dispatcher over dispatch: it translates a process of
// the one into a plugin of the other.
type plugins struct {
	to *dispatch.Dispatcher

	mu    sync.RWMutex // guards known
	known map[*pluginhost.Instance]*dispatch.Instance
}

func newPlugins(to *dispatch.Dispatcher) *plugins {
	return &plugins{to: to, known: map[*pluginhost.Instance]*dispatch.Instance{}}
}

func (p *plugins) get(i *pluginhost.Instance) *dispatch.Instance {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.known[i]
}

func (p *plugins) Described(i *pluginhost.Instance) {
	order, err := route.ParseOrder(i.Options.Order)
	if err != nil {
		i.Kill(err.Error()) // pluginhost has checked it
		return
	}
	d := &dispatch.Instance{
		Name:           i.Name,
		Content:        i.Content,
		Process:        process{i},
		Closed:         i.Closed,
		Claim:          route.Claim{Plugin: i.Name, Categories: i.Options.Categories, FromConfig: i.FromConfig},
		Order:          order,
		Outcome:        i.Manifest.GetOutcome(),
		Receipt:        i.Manifest.GetReceipt(),
		MaxAttempts:    i.Options.MaxAttempts,
		HandlerTimeout: i.Options.HandlerTimeout,
		MaxInFlight:    i.Options.MaxInFlight,
		SuspectAfter:   i.Options.SuspectAfter,
		Alone:          i.Options.Strategy == pluginhost.Recreate,
		Trier:          i.Trier,
	}
	p.mu.Lock()
	p.known[i] = d
	p.mu.Unlock()
	p.to.Described(d)
}

func (p *plugins) Ready(i *pluginhost.Instance)                      { p.to.Ready(p.get(i)) }
func (p *plugins) Frame(i *pluginhost.Instance, f *wire.PluginFrame) { p.to.Frame(p.get(i), f) }
func (p *plugins) Removed(name string)                               { p.to.Removed(name) }
func (p *plugins) Settled()                                          { p.to.Settled() }

func (p *plugins) Drain(ctx context.Context, i *pluginhost.Instance) error {
	return p.to.Drain(ctx, p.get(i))
}

func (p *plugins) Results(ctx context.Context, i *pluginhost.Instance) (pluginhost.Results, error) {
	r, err := p.to.Results(ctx, p.get(i))
	return pluginhost.Results(r), err
}

func (p *plugins) Gone(i *pluginhost.Instance, reason string) {
	p.to.Gone(p.get(i), reason)
	p.mu.Lock()
	delete(p.known, i)
	p.mu.Unlock()
}

// process is an instance as dispatch talks to it.
type process struct{ i *pluginhost.Instance }

func (p process) Send(f *wire.HostFrame) { p.i.Send(f) }
func (p process) Kill(reason string)     { p.i.Kill(reason) }
func (p process) Trier()                 { p.i.StartTrier() }
func (p process) Retire()                { p.i.Retire() }
