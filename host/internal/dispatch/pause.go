package dispatch

import (
	"context"
	"encoding/json"

	"balhost/host/internal/entry"
)

// Pause holds the plugin's events until Resume, over restarts of the host too.
// Handlers that run go on. The error is the ledger's.
func (d *Dispatcher) Pause(ctx context.Context, name string) error { return d.pause(ctx, name, true) }

// Resume undoes Pause.
func (d *Dispatcher) Resume(ctx context.Context, name string) error { return d.pause(ctx, name, false) }

func pausedKey(name string) string { return "paused/" + name }

// readPause reads whether p is paused. While that can't be read, p is paused: the
// person who did it may have had a reason. [Dispatcher.watch] reads again.
func (d *Dispatcher) readPause(p *plugin) {
	value, _, err := d.o.Ledger.Get(entry.HostState, pausedKey(p.name))
	switch {
	case err != nil && p.unread == nil:
		d.log.Error("cannot read whether a plugin is paused, so it gets no events until it can be read", "plugin", p.name, "err", err)
	case err == nil && p.unread != nil:
		d.log.Info("it can be read again whether a plugin is paused", "plugin", p.name)
	}
	p.paused, p.unread = value != nil || err != nil, err
}

func (d *Dispatcher) pause(ctx context.Context, name string, on bool) error {
	write := entry.Write{Key: pausedKey(name)}
	if on {
		write.Value = json.RawMessage("true")
	}
	answer := make(chan error, 1)
	d.o.Ledger.Update(entry.HostState, entry.Changes{Writes: []entry.Write{write}}, func(err error) {
		if err != nil {
			answer <- err
			return
		}
		d.box.put(func(d *Dispatcher) { // in force once it is stored, whether anybody waits for the answer or not
			p := d.plugin(name)
			p.paused, p.unread = on, nil
			answer <- nil
		})
	})
	return d.await(ctx, answer)
}
