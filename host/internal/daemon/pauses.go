package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/dispatch"
	"balhost/host/internal/entry"
	"balhost/host/internal/ledger"
	"balhost/host/internal/plain"
	"balhost/host/internal/route"
	"balhost/host/internal/status"
)

// pauses are the sessions that a person has paused, by sender id. They are stored in the
// host's state before they are in force, and read at the start.
type pauses struct {
	mu sync.Mutex
	of map[string]sessionPause
}

// sessionPause says since when the parts of a session are paused; zero: that part is not.
type sessionPause struct {
	Name     string    `json:"name"` // of the session when it was paused: it may be gone
	Intake   time.Time `json:"intake,omitzero"`
	Delivery time.Time `json:"delivery,omitzero"`
}

// pausedSessions begins the keys of the host's state that have them.
const pausedSessions = "session/"

// readPauses puts the pauses of before the start in force.
func (h *host) readPauses() error {
	h.pauses.of = map[string]sessionPause{}
	for after := ""; ; {
		got, err := h.ledger.List(entry.HostState, entry.Span{Prefix: pausedSessions, After: after, Keys: 1000, Bytes: 1 << 20})
		if err != nil {
			return fmt.Errorf("read which sessions are paused: %w", err)
		}
		for _, it := range got.Items {
			var p sessionPause
			if err := json.Unmarshal(it.Value, &p); err != nil {
				return fmt.Errorf("read which sessions are paused: key %q: %w", it.Key, err)
			}
			sender := strings.TrimPrefix(it.Key, pausedSessions)
			h.pauses.of[sender] = p
			h.enforce(sender, p)
			after = it.Key
		}
		if !got.More {
			return nil
		}
	}
}

// enforce tells the ledger and the outbox.
func (h *host) enforce(sender string, p sessionPause) {
	if p.Intake.IsZero() {
		h.ledger.ResumeIntake(sender)
	} else {
		h.ledger.StopIntake(sender)
	}
	if p.Delivery.IsZero() {
		h.outbox.Resume(sender)
	} else {
		h.outbox.Pause(sender)
	}
}

// inbox is the ledger as one session's transports know it: its room is the session's.
type inbox struct {
	*ledger.Ledger
	sender string
}

func (i inbox) Room() <-chan struct{} { return i.RoomOf(i.sender) }

func (h *host) pause(ctx context.Context, o admin.PauseOrder) error {
	switch {
	case o.Session != "" && o.Plugin == "":
		return h.pauseSession(ctx, o, time.Now())
	case o.Lane != "":
		lane := dispatch.NamedLane{Hashes: route.Named(o.Lane), Brief: plain.Line(o.Lane, maxLane)}
		return h.known(func(ctx context.Context, name string) error { return h.dispatch.PauseLane(ctx, name, lane) })(ctx, o.Plugin)
	case o.Device == "":
		return h.known(h.dispatch.Pause)(ctx, o.Plugin)
	}
	sender, err := chosen(h.labels(), o.Session)
	if err != nil {
		return err
	}
	device := dispatch.Device{Hash: entry.DeviceHash(sender, o.Device), Session: sender, Brief: plain.Brief(o.Device)}
	return h.known(func(ctx context.Context, name string) error { return h.dispatch.PauseDevice(ctx, name, device) })(ctx, o.Plugin)
}

func (h *host) resume(ctx context.Context, o admin.PauseOrder) error {
	switch {
	case o.Session != "" && o.Plugin == "":
		return h.pauseSession(ctx, o, time.Time{})
	case o.Lane != "":
		return h.resumeLane(ctx, o)
	case o.Device == "":
		return h.known(h.dispatch.Resume)(ctx, o.Plugin)
	}
	dispatched, err := h.dispatched()
	if err != nil {
		return err
	}
	found := false
	for _, p := range dispatched.Plugins {
		for _, d := range p.PausedDevices {
			if p.Name != o.Plugin || d.Device != o.Device && d.Hash != entry.DeviceHash(d.Session, o.Device) {
				continue
			}
			found = true
			if err := h.dispatch.ResumeDevice(ctx, p.Name, d.Hash); err != nil {
				return err
			}
		}
	}
	if !found {
		return entry.NoSuch("no such device of plugin %q is paused; balhost pause --list shows those that are", o.Plugin)
	}
	return nil
}

// maxLane is how much of an ordering key people are shown, in bytes.
const maxLane = 64

func (h *host) resumeLane(ctx context.Context, o admin.PauseOrder) error {
	dispatched, err := h.dispatched()
	if err != nil {
		return err
	}
	named, found := route.Named(o.Lane), false
	for _, p := range dispatched.Plugins {
		for _, l := range p.PausedLanes {
			if p.Name != o.Plugin || l.Lane != o.Lane && !slices.Contains(l.Hashes, named[0]) {
				continue
			}
			found = true
			if err := h.dispatch.ResumeLane(ctx, p.Name, l.Hashes); err != nil {
				return err
			}
		}
	}
	if !found {
		return entry.NoSuch("no such lane of plugin %q is paused; balhost pause --list shows those that are", o.Plugin)
	}
	return nil
}

// pauseSession pauses parts of a session since at, or resumes them if that is zero.
func (h *host) pauseSession(ctx context.Context, o admin.PauseOrder, at time.Time) error {
	if !o.Intake && !o.Delivery {
		o.Intake, o.Delivery = true, true
	}
	h.pauses.mu.Lock()
	defer h.pauses.mu.Unlock()
	sender, name := h.pausable(o.Session)
	if sender == "" {
		return entry.NoSuch("there is no session %q; there are %s", o.Session, strings.Join(h.labels().Names(), ", "))
	}
	p := h.pauses.of[sender]
	p.Name = name
	set := func(part *time.Time) {
		if at.IsZero() || part.IsZero() { // paused twice is paused since the first time
			*part = at
		}
	}
	if o.Intake {
		set(&p.Intake)
	}
	if o.Delivery {
		set(&p.Delivery)
	}
	write := entry.Write{Key: pausedSessions + sender}
	if !p.Intake.IsZero() || !p.Delivery.IsZero() {
		write.Value, _ = json.Marshal(p)
	}
	stored := make(chan error, 1)
	h.ledger.Update(entry.HostState, entry.Changes{Writes: []entry.Write{write}}, func(err error) { stored <- err })
	select {
	case err := <-stored:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		<-stored // so that what is in force is what is stored
	}
	if write.Value == nil {
		delete(h.pauses.of, sender)
	} else {
		h.pauses.of[sender] = p
	}
	h.enforce(sender, p)
	return nil
}

// pausable finds a session by its name, or by its sender id if it is paused: it may be gone
// from the config. The caller holds pauses.mu.
func (h *host) pausable(session string) (sender, name string) {
	for _, s := range h.labels() {
		if s.Name == session || s.ID == session {
			return s.ID, s.Name
		}
	}
	for sender, p := range h.pauses.of {
		if p.Name == session || sender == session {
			return sender, p.Name
		}
	}
	return "", ""
}

// listPauses lists what is paused.
func (h *host) listPauses(context.Context) (page admin.PausePage, err error) {
	dispatched, err := h.dispatched()
	page.Pauses = append(h.pausedSessions(), pausedPlugins(dispatched, h.labels())...)
	return page, err
}

// pausedSessions are those of sessions.
func (h *host) pausedSessions() (all []admin.Pause) {
	h.pauses.mu.Lock()
	defer h.pauses.mu.Unlock()
	for _, sender := range slices.Sorted(maps.Keys(h.pauses.of)) {
		p := h.pauses.of[sender]
		name := cmp.Or(h.labels().Name(sender), p.Name)
		for _, part := range []struct {
			name  string
			since time.Time
		}{{"intake", p.Intake}, {"delivery", p.Delivery}} {
			if !part.since.IsZero() {
				all = append(all, admin.Pause{Session: name, SenderID: sender, Part: part.name, Since: part.since,
					Resume: fmt.Sprintf("balhost resume --session %s --%s", name, part.name)})
			}
		}
	}
	return all
}

// resumeLane is the command that resumes a lane.
func resumeLane(plugin, lane string) string {
	return fmt.Sprintf("balhost resume %s --lane '%s'", plugin, strings.ReplaceAll(plain.Text(lane), "'", `'\''`))
}

// pausedPlugins are those of plugins, and of their devices and lanes.
func pausedPlugins(s dispatch.Status, labels entry.Senders) (all []admin.Pause) {
	for _, p := range s.Plugins {
		if p.Paused {
			all = append(all, admin.Pause{Plugin: p.Name, Since: p.PausedSince, Resume: "balhost resume " + p.Name})
		}
		devices := slices.SortedFunc(slices.Values(p.PausedDevices), func(a, b status.PausedDevice) int { return a.Since.Compare(b.Since) })
		for _, d := range devices {
			all = append(all, admin.Pause{Plugin: p.Name, Device: d.Device, Session: labels.Name(d.Session), SenderID: d.Session, Since: d.Since,
				Resume: fmt.Sprintf("balhost resume %s --device %s", p.Name, d.Device)})
		}
		for _, l := range p.PausedLanes {
			all = append(all, admin.Pause{Plugin: p.Name, Lane: l.Lane, Since: l.Since, Resume: resumeLane(p.Name, l.Lane)})
		}
	}
	return all
}

// pauseWarnings says what is paused, for the status and /readyz. A long list is cut.
func (h *host) pauseWarnings(l *look) (warnings []string) {
	const enough = 10
	now, all := time.Now(), append(h.pausedSessions(), pausedPlugins(l.dispatch, h.labels())...)
	for _, p := range all[:min(len(all), enough)] {
		warnings = append(warnings, p.Sentence(now))
	}
	if more := len(all) - enough; more > 0 {
		warnings = append(warnings, fmt.Sprintf("%d more are paused; balhost pause --list shows all", more))
	}
	return warnings
}
