package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"balhost/sdk/wire"
)

// Lane says in which lane a timer comes. [InLaneOf] and [InLane] make one.
type Lane struct{ into func(*wire.Schedule) }

// InLaneOf is the lane of a device's upstreams. The empty session means that of the
// event; outside of a handler, the host's only session. If the plugin's order is by key,
// it is the lane of those upstreams of the device that have no key.
func InLaneOf(session, device string) Lane {
	return Lane{func(s *wire.Schedule) {
		s.Lane = &wire.Schedule_Device{Device: &wire.Device{Session: session, Device: device}}
	}}
}

// InLane is a lane of the plugin's own, for timers that should come one after the other.
// Its name is 1 to MaxKey bytes.
func InLane(name string) Lane {
	return Lane{func(s *wire.Schedule) { s.Lane = &wire.Schedule_Named{Named: name} }}
}

var errUntimed = errors.New("the plugin has no Timer handler: set Plugin.Timer")

// Schedule sets a timer. When it is due, the plugin's Timer handler gets it, with data as
// JSON, and handles it as any event: it comes again after an error, and ends in the
// dead letters after max_attempts. It survives restarts of the plugin and of the host.
// If the host was down at that time, it comes as soon as the host is up; several come in
// the order in which they were due. It never comes before at, by the host's clock. A time
// that has passed is due at once. The plugin's timers are kept on the host's disk, so
// there may be a million of them.
//
// The key, 1 to MaxKey bytes, is the timer's name. A timer of this plugin that has the same
// key is replaced, even if it is due already, or its handler runs right now: what that
// handler does is not committed then. A Timer handler may set its own key again.
//
// The timer comes in the lane of the event that sets it, so it never runs at the same
// time as another event of that lane. Its Session and Device are those of that event. An
// optional last argument names another lane. In Host.Update, the lane is one of the
// plugin's own with the key as its name.
//
// Without a Timer handler the error is ErrInvalid. Nothing is set before the commit.
func (tx *Tx) Schedule(key string, at time.Time, data any, where ...Lane) error {
	s := &wire.Schedule{Key: key, AtMs: at.Add(time.Millisecond - 1).UnixMilli()} // not before at
	switch {
	case !tx.timed:
		return fmt.Errorf("schedule %q: %w: %w", key, ErrInvalid, errUntimed)
	case at.IsZero():
		return fmt.Errorf("schedule %q: %w: the time is zero", key, ErrInvalid)
	case len(where) > 1:
		return fmt.Errorf("schedule %q: %w: %d lanes, there can be one", key, ErrInvalid, len(where))
	case len(where) == 1 && where[0].into != nil:
		where[0].into(s)
	}
	if d := s.GetDevice(); d != nil && tx.sessions != nil {
		if err := tx.sessions.known(d.GetSession(), tx.session); err != nil {
			return fmt.Errorf("schedule %q: %w: %w", key, ErrInvalid, err)
		}
	}
	if data != nil {
		var err error
		if s.Data, err = json.Marshal(data); err != nil {
			return fmt.Errorf("schedule %q: %w: %w", key, ErrInvalid, err)
		}
	}
	return tx.timer("schedule", s)
}

// Cancel ends the timer of this plugin that has the key, even if it is due already, or its
// handler runs right now: what that handler does is not committed then. It is no error
// if there is no such timer.
func (tx *Tx) Cancel(key string) error {
	return tx.timer("cancel", &wire.Schedule{Key: key, Cancel: true})
}

// timer adds s to the Tx. The last call for a key counts.
func (tx *Tx) timer(verb string, s *wire.Schedule) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := s.Check(); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	count, size := 1, s.Size()
	old := slices.IndexFunc(tx.timers, func(was *wire.Schedule) bool { return was.Key == s.Key })
	if old >= 0 {
		count, size = 0, size-tx.timers[old].Size()
	}
	if err := tx.grow(count, size); err != nil {
		return fmt.Errorf("%s %q: %w", verb, s.Key, err)
	}
	if old >= 0 {
		tx.timers = slices.Delete(tx.timers, old, old+1)
	}
	tx.timers = append(tx.timers, s)
	return nil
}
