package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/entry"
	"balhost/host/internal/status"
)

// Pause holds the plugin's events until Resume, over restarts of the host too.
// Handlers that run go on. The error is the ledger's.
func (d *Dispatcher) Pause(ctx context.Context, name string) error { return d.pause(ctx, name, true) }

// Resume undoes Pause.
func (d *Dispatcher) Resume(ctx context.Context, name string) error { return d.pause(ctx, name, false) }

func pausedKey(name string) string { return "paused/" + name }

// pausedSince is what the host stores of a pause. Versions before it stored only that there is one.
type pausedSince struct {
	Since time.Time `json:"since"`
}

// readPause reads what of p is paused. While that can't be read, all of p is paused: the
// person who did it may have had a reason. [Dispatcher.watch] reads again.
func (d *Dispatcher) readPause(p *plugin) {
	value, _, err := d.o.Ledger.Get(entry.HostState, pausedKey(p.name))
	var devices map[uint64]pausedDevice
	var lanes map[uint64]pausedLane
	if err == nil {
		devices, err = readPaused[pausedDevice](d, devicesOf(p.name))
	}
	if err == nil {
		lanes, err = readPaused[pausedLane](d, lanesOf(p.name))
	}
	switch {
	case err != nil && p.unread == nil:
		d.log.Error("cannot read whether a plugin is paused, so it gets no events until it can be read", "plugin", p.name, "err", err)
	case err == nil && p.unread != nil:
		d.log.Info("it can be read again whether a plugin is paused", "plugin", p.name)
	}
	var since pausedSince
	_ = json.Unmarshal(value, &since) // of a version before, it has no time
	p.paused, p.pausedSince, p.unread = value != nil || err != nil, since.Since, err
	if err == nil && len(devices)+len(p.devices)+len(lanes)+len(p.pausedLanes) > 0 {
		p.devices, p.pausedLanes = devices, lanes
		d.unload(p)
	}
}

func (d *Dispatcher) pause(ctx context.Context, name string, on bool) error {
	write := entry.Write{Key: pausedKey(name)}
	now := time.Now()
	if on {
		write.Value = asJSON(pausedSince{now})
	}
	return d.store(ctx, []entry.Write{write}, func(d *Dispatcher) {
		p := d.plugin(name)
		if !p.paused || !on {
			p.pausedSince = now
		}
		p.paused, p.unread = on, nil
	})
}

// store writes to the host's state. then comes in Run once that is stored, whether anybody
// waits for the answer or not.
func (d *Dispatcher) store(ctx context.Context, all []entry.Write, then func(*Dispatcher)) error {
	answer := make(chan error, 1)
	d.o.Ledger.Update(entry.HostState, entry.Changes{Writes: all}, func(err error) {
		if err != nil {
			answer <- err
			return
		}
		d.box.put(func(d *Dispatcher) {
			then(d)
			answer <- nil
		})
	})
	return d.await(ctx, answer)
}

func asJSON(v any) json.RawMessage {
	text, _ := json.Marshal(v) // it is one of ours, and can be
	return text
}

// maxPaused is how many devices of a plugin may be paused, and how many lanes.
const maxPaused = 100

// pausedDevice is one device whose events wait at one plugin.
type pausedDevice struct {
	Device  string    `json:"device"`  // its shortened token, for people
	Session string    `json:"session"` // sender id
	Since   time.Time `json:"since"`
}

// Device names a device of a session to PauseDevice and ResumeDevice.
type Device struct {
	Hash    uint64 // entry.DeviceHash
	Session string // sender id
	Brief   string // its shortened token, for people
}

// PauseDevice holds what is a device's at one plugin until ResumeDevice, over restarts of
// the host too: its upstreams, and the timers that are ordered with them. A lane
// waits as soon as its next event is one of these, whatever the plugin's order is. A
// handler that runs goes on. The error is the ledger's, or says that there are too many.
func (d *Dispatcher) PauseDevice(ctx context.Context, name string, device Device) error {
	if err := d.roomFor(ctx, name, "devices", func(p *plugin) int { return len(p.devices) }); err != nil {
		return err
	}
	paused := pausedDevice{device.Brief, device.Session, time.Now()}
	return d.store(ctx, []entry.Write{{Key: deviceKey(name, device.Hash), Value: asJSON(paused)}}, func(d *Dispatcher) {
		p := d.plugin(name)
		if p.devices == nil {
			p.devices = map[uint64]pausedDevice{}
		}
		p.devices[device.Hash] = paused
		d.unload(p) // lanes are read again, and those of the device wait
	})
}

// ResumeDevice undoes PauseDevice.
func (d *Dispatcher) ResumeDevice(ctx context.Context, name string, hash uint64) error {
	return d.store(ctx, []entry.Write{{Key: deviceKey(name, hash)}}, func(d *Dispatcher) {
		p := d.plugin(name)
		delete(p.devices, hash)
		d.unload(p)
	})
}

func deviceKey(name string, hash uint64) string { return fmt.Sprintf("%s%016x", devicesOf(name), hash) }

func devicesOf(name string) string { return "device/" + name + "/" }

// roomFor is an error if a plugin has as many paused things as it may have.
func (d *Dispatcher) roomFor(ctx context.Context, name, what string, has func(*plugin) int) error {
	full := false
	if err := d.ask(ctx, func(d *Dispatcher) error { full = has(d.plugin(name)) >= maxPaused; return nil }); err != nil {
		return err
	}
	if full {
		return fmt.Errorf("%d %s of plugin %s are paused already, which is the most: %w", maxPaused, what, name, entry.ErrMany)
	}
	return nil
}

// readPaused reads what of a plugin is paused, by the hash at the end of the key.
func readPaused[T any](d *Dispatcher, prefix string) (map[uint64]T, error) {
	got, err := d.o.Ledger.List(entry.HostState, entry.Span{Prefix: prefix, Keys: 3 * maxPaused, Bytes: 1 << 20})
	if err != nil || len(got.Items) == 0 {
		return nil, err
	}
	all := map[uint64]T{}
	for _, it := range got.Items {
		hash, err := strconv.ParseUint(strings.TrimPrefix(it.Key, prefix), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("key %q of the host's state: %w", it.Key, err)
		}
		var paused T
		if err := json.Unmarshal(it.Value, &paused); err != nil {
			return nil, fmt.Errorf("key %q of the host's state: %w", it.Key, err)
		}
		all[hash] = paused
	}
	return all, nil
}

// holds reports whether a lane is paused, or its head is of a paused device.
func (p *plugin) holds(l *lane) bool {
	if _, held := p.heldLane(l.key); held && l.shared {
		return true
	}
	if len(p.devices) == 0 {
		return false
	}
	_, held := p.held(l.head())
	return held
}

// held is the pause of an event's device; false if it is not paused.
func (p *plugin) held(e *entry.Event) (pausedDevice, bool) {
	device := e.Device
	if e.Kind == entry.Timer && e.Lane.Kind == entry.Upstream {
		device = e.Lane.Hash
	}
	paused, held := p.devices[device]
	return paused, held
}

// pausedSinceNow is since when p is paused; the zero time if it is not.
func (p *plugin) pausedSinceNow() time.Time {
	if !p.paused {
		return time.Time{}
	}
	return p.pausedSince
}

// pausedDevices are p's for the status.
func (p *plugin) pausedDevices() (all []status.PausedDevice) {
	for hash, d := range p.devices {
		all = append(all, status.PausedDevice{Device: d.Device, Session: d.Session, Since: d.Since, Hash: hash})
	}
	return all
}
