package dispatch

import (
	"context"
	"errors"
	"fmt"

	"balhost/host/internal/entry"
)

// Absent returns an error while a plugin can't be forgotten: a process of it lives, or it is
// not known yet what plugins there are.
func (d *Dispatcher) Absent(ctx context.Context, name string) error {
	return d.ask(ctx, func(d *Dispatcher) error {
		p := d.plugins[name]
		switch {
		case !d.booted:
			return errors.New("the plugins are being started: forget it in a moment")
		case p != nil && len(p.instances) > 0:
			return fmt.Errorf("a process of plugin %s still runs: wait for its end (balhost plugins)", name)
		}
		return nil
	})
}

// Pauses is how many pauses there are of a plugin: of all of it, and of devices and lanes.
func (d *Dispatcher) Pauses(name string) (int, error) {
	keys, err := d.pauseKeys(name)
	return len(keys), err
}

// pauseKeys are the keys of the host's state that say what is paused of a plugin.
func (d *Dispatcher) pauseKeys(name string) (keys []string, err error) {
	value, _, err := d.o.Ledger.Get(entry.HostState, pausedKey(name))
	if err != nil {
		return nil, err
	}
	if value != nil {
		keys = append(keys, pausedKey(name))
	}
	for _, prefix := range []string{devicesOf(name), lanesOf(name)} {
		got, err := d.o.Ledger.List(entry.HostState, entry.Span{Prefix: prefix, Keys: 3 * maxPaused, Bytes: 1 << 20})
		if err != nil {
			return nil, err
		}
		for _, it := range got.Items {
			keys = append(keys, it.Key)
		}
	}
	return keys, nil
}

// Forget drops all that Run knows of a plugin, and its pauses on disk too. The ledger has
// forgotten it before, so its categories are another's now, or nobody's.
func (d *Dispatcher) Forget(ctx context.Context, name string) error {
	keys, err := d.pauseKeys(name)
	if err != nil {
		return fmt.Errorf("read the pauses of plugin %s: %w", name, err)
	}
	var writes []entry.Write
	for _, key := range keys {
		writes = append(writes, entry.Write{Key: key})
	}
	return d.store(ctx, writes, func(d *Dispatcher) { d.forget(name) })
}

// forget drops a plugin that has no process, as far as nothing is pending of it.
func (d *Dispatcher) forget(name string) {
	p := d.plugins[name]
	if p != nil {
		d.readPause(p)
		p.claims = p.claims && len(p.instances) > 0
	}
	d.retable()
	if p == nil || len(p.instances) > 0 { // it is back
		return
	}
	d.metrics.forget(p)
	for _, pl := range d.piles {
		if pl.owner == name { // a dead letter was replayed
			return
		}
	}
	d.unload(p)
	delete(d.plugins, name)
	d.watched.Delete(name)
}
