package dispatch

import (
	"bytes"
	"container/heap"
	"fmt"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// schedule checks one timer off the wire, and puts its session's sender id in place of its
// name. Where it comes may stay open, as may the session: placed fills them in.
func (d *Dispatcher) schedule(in *Instance, s *wire.Schedule) (entry.Schedule, error) {
	out := entry.Schedule{Key: s.GetKey(), Cancel: s.GetCancel()}
	if out.Cancel {
		return out, nil
	}
	if !in.Timer {
		return out, fmt.Errorf("%w: timer %q: the plugin has no Timer handler", wire.ErrInvalid, s.GetKey())
	}
	out.At = time.UnixMilli(s.GetAtMs())
	if len(s.GetData()) > 0 {
		out.Data = bytes.Clone(s.GetData())
	}
	switch lane := s.GetLane().(type) {
	case *wire.Schedule_Named:
		out.Lane = entry.Lane{Kind: entry.Timer, Hash: entry.Hash(lane.Named)}
	case *wire.Schedule_Device:
		senders := d.o.Senders()
		id, ok := senders.Meant(lane.Device.GetSession())
		if !ok {
			return out, unfit{fmt.Errorf("%w: timer %q: session %q is not in config.hcl; there are %q", wire.ErrInvalid, s.GetKey(), lane.Device.GetSession(), senders.Names())}
		}
		out.Session, out.Device = id, lane.Device.GetDevice()
		out.Lane = entry.Lane{Kind: entry.Upstream, Hash: entry.DeviceHash(id, out.Device)}
	}
	return out, nil
}

// placed puts timers into the lane of the event that sets them, if they name no other.
func (d *Dispatcher) placed(timers []entry.Schedule, p *plugin, by *delivery) error {
	l := by.lane
	head := l.head()
	for i := range timers {
		s := &timers[i]
		switch {
		case s.Cancel:
		case s.Device != "":
			if s.Session == "" {
				s.Session = head.Session
				s.Lane.Hash = entry.DeviceHash(s.Session, s.Device)
			}
			if s.Session == "" {
				return noSession(s.Key, d.o.Senders())
			}
		default:
			s.Session = head.Session
			if head.Kind == entry.Upstream || head.Kind == entry.Timer {
				s.Device = by.about.device
			}
			if s.Lane == (entry.Lane{}) {
				s.Lane = besides(p, l)
			}
		}
	}
	return nil
}

func noSession(key string, among entry.Senders) error {
	return fmt.Errorf("%w: the lane of timer %q names a device without a session, and there are several: %q", wire.ErrInvalid, key, among.Names())
}

// besides is where a timer comes that belongs to the lane of l's head.
func besides(p *plugin, l *lane) entry.Lane {
	switch head := l.head(); head.Kind {
	case entry.Timer:
		return head.Lane
	case entry.Upstream:
		at := entry.Lane{Kind: entry.Upstream, Hash: head.Device}
		if p.order.NeedsPayload() && l.key.hash != head.Device {
			at.Key = l.key.hash
		}
		return at
	default:
		return entry.Lane{Kind: entry.Outcome, Hash: head.Group}
	}
}

// timerLane is the lane of a timer.
func timerLane(p *plugin, at entry.Lane) (key laneKey, shared bool) {
	if at.Kind == entry.Upstream {
		hash, shared := p.order.Again(at.Hash, at.Key)
		return laneKey{kind: entry.Upstream, hash: hash}, shared
	}
	return laneKey{kind: at.Kind, hash: at.Hash}, at.Hash != 0
}

// ended lets lanes go on whose heads are timers that a commit has canceled or replaced, and
// that wait for another attempt. The others are found void when it is their turn.
func (p *plugin) ended(c entry.Changes) {
	for i := range c.Schedules {
		seq := c.Schedules[i].Ended
		if seq == 0 {
			continue
		}
		for _, l := range p.due {
			if l.head().Seq == seq {
				l.head().Due = time.Now()
			}
		}
		heap.Init(&p.due) // Run wakes them next
	}
}
