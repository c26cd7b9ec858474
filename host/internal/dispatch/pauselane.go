package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/route"
	"balhost/host/internal/status"
)

// pausedLane is one lane by an ordering key whose events wait at one plugin.
type pausedLane struct {
	Lane  string    `json:"lane"` // its key, shortened, for people
	Since time.Time `json:"since"`
}

// NamedLane names a lane of a plugin to PauseLane and ResumeLane.
type NamedLane struct {
	Hashes []uint64 // as [route.Named] gives them
	Brief  string   // its key, shortened, for people
}

// PauseLane holds what is ordered by a key at one plugin until ResumeLane, over restarts of
// the host too: upstreams, and the timers that are ordered with them. A handler that runs
// goes on. The error is the ledger's, or says that there are too many, or that the plugin
// has no lanes by keys (entry.ErrUnknown).
func (d *Dispatcher) PauseLane(ctx context.Context, name string, which NamedLane) error {
	order := route.Order{}
	known := false
	if err := d.ask(ctx, func(d *Dispatcher) error {
		p := d.plugin(name)
		order, known = p.order, p.laned
		return nil
	}); err != nil {
		return err
	}
	if known && !order.NeedsPayload() {
		return entry.NoSuch("plugin %s has no lanes by an ordering key: its order is %s", name, order)
	}
	if err := d.roomFor(ctx, name, "lanes", func(p *plugin) int { return len(p.pausedLanes) }); err != nil {
		return err
	}
	paused := pausedLane{which.Brief, time.Now()}
	var writes []entry.Write
	for _, hash := range which.Hashes {
		writes = append(writes, entry.Write{Key: laneStateKey(name, hash), Value: asJSON(paused)})
	}
	return d.store(ctx, writes, func(d *Dispatcher) {
		p := d.plugin(name)
		if p.pausedLanes == nil {
			p.pausedLanes = map[uint64]pausedLane{}
		}
		for _, hash := range which.Hashes {
			p.pausedLanes[hash] = paused
		}
		d.unload(p) // lanes are read again, and these wait
	})
}

// ResumeLane undoes PauseLane.
func (d *Dispatcher) ResumeLane(ctx context.Context, name string, hashes []uint64) error {
	var writes []entry.Write
	for _, hash := range hashes {
		writes = append(writes, entry.Write{Key: laneStateKey(name, hash)})
	}
	return d.store(ctx, writes, func(d *Dispatcher) {
		p := d.plugin(name)
		for _, hash := range hashes {
			delete(p.pausedLanes, hash)
		}
		d.unload(p)
	})
}

func laneStateKey(name string, hash uint64) string {
	return fmt.Sprintf("%s%016x", lanesOf(name), hash)
}

func lanesOf(name string) string { return "lane/" + name + "/" }

// heldLane is the pause of a lane; false if it is not paused.
func (p *plugin) heldLane(key laneKey) (pausedLane, bool) {
	if key.kind != entry.Upstream || len(p.pausedLanes) == 0 {
		return pausedLane{}, false
	}
	paused, held := p.pausedLanes[key.hash]
	return paused, held
}

// lanesPaused are p's for the status: those that were paused together are one.
func (p *plugin) lanesPaused() (all []status.PausedLane) {
	for hash, l := range p.pausedLanes {
		i := slices.IndexFunc(all, func(other status.PausedLane) bool { return other.Lane == l.Lane && other.Since.Equal(l.Since) })
		if i < 0 {
			i, all = len(all), append(all, status.PausedLane{Lane: l.Lane, Since: l.Since})
		}
		all[i].Hashes = append(all[i].Hashes, hash)
	}
	slices.SortFunc(all, func(a, b status.PausedLane) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Lane, b.Lane)) })
	return all
}
