package hosttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"
)

// timed is the data of a timer.
type timed struct {
	N    string `json:"n"`    // names this setting of its key
	Lane string `json:"lane"` // where it belongs, as the books name lanes
}

// setting is what handlers have done to a key, one after the other: they keep these in the
// state. When one replaces or cancels the one before, it says whether that had come.
type setting struct {
	Event string `json:"event"` // that did it
	Set   string `json:"set"`   // timed.N; "": it was canceled
	Was   string `json:"was"`   // of the one before; "": there was none
	Came  bool   `json:"came"`  // that one had been handled by then
}

// timerKeys are few, so that they are replaced.
var timerKeys = []string{"t0", "t1", "t2", "t3"}

func settingsKey(key string) string { return "timer/" + key }
func cameKey(n string) string       { return "came/" + n }

// timers notes that a timer has come, if e is one, without a look at its settings. And now
// and then it sets one, or cancels it.
func (w *world) timers(p *Process, d *wire.Delivery, e *event, r *rand.Rand, c *wire.Changes) error {
	var own timed
	if decode(d.GetTimer().GetData(), &own); own.N != "" {
		c.Write = append(c.Write, &wire.Write{Key: cameKey(own.N), Value: marshal(e.id)})
	}
	if w.calm.Load() || !chance(r, 30) {
		return nil
	}
	s := &wire.Schedule{Key: timerKeys[r.IntN(len(timerKeys))]}
	value, version, err := p.Get(d.GetDelivery(), settingsKey(s.Key))
	if err != nil {
		return err
	}
	var all []setting
	decode(value, &all)
	now := setting{Event: e.id}
	if len(all) > 0 && all[len(all)-1].Set != "" {
		now.Was = all[len(all)-1].Set
		_, came, err := p.Get(d.GetDelivery(), cameKey(now.Was))
		if err != nil {
			return err
		}
		c.Read = append(c.Read, &wire.Read{Key: cameKey(now.Was), Version: came})
		now.Came = came != 0 || now.Was == own.N // else this commit comes first, or not at all
	}
	if s.Cancel = chance(r, 25); !s.Cancel {
		now.Set = fmt.Sprintf("%s-%d", e.id, len(all))
		s.AtMs = time.Now().Add(upTo(r, 15*time.Second) - time.Second).UnixMilli()
		s.Data = marshal(timed{now.Set, w.timerLane(p, d, e, r, s)})
	}
	c.Schedule = append(c.Schedule, s)
	c.Read = append(c.Read, &wire.Read{Key: settingsKey(s.Key), Version: version})
	c.Write = append(c.Write, &wire.Write{Key: settingsKey(s.Key), Value: marshal(append(all, now))})
	return nil
}

// timerLane chooses the lane of s, and returns the books' name of it.
func (w *world) timerLane(p *Process, d *wire.Delivery, e *event, r *rand.Rand, s *wire.Schedule) string {
	switch n := r.IntN(10); {
	case n < 6:
		return e.lane
	case n < 8:
		name := fmt.Sprint("name", n)
		s.Lane = &wire.Schedule_Named{Named: name}
		return "named/" + p.Plugin.Name + "/" + name
	}
	session := d.GetUpstream().GetSession() + d.GetOutcome().GetSession() + d.GetReceipt().GetSession() + d.GetTimer().GetSession()
	on := &wire.Device{Device: fmt.Sprintf("dev-%s-%d", unlabel(session), r.IntN(4))}
	if chance(r, 50) {
		on.Session = session
	}
	s.Lane = &wire.Schedule_Device{Device: on}
	if p.Plugin.Order == "none" {
		return ""
	}
	return p.Plugin.Name + "/device/" + on.Device
}

// checkTimers: each timer comes once, and none that was replaced or canceled before it was
// handled. dead are those in the dead letters; not nil at the end, when all have come. mu is held.
func (b *books) checkTimers(h *Host, dead map[string]bool) {
	for _, plugin := range h.Plugins() {
		for _, key := range timerKeys {
			value, _, err := h.Ledger.Get(plugin, settingsKey(key))
			if err != nil {
				if !errors.Is(err, entry.ErrClosed) {
					b.bad("settings of timer %s: %v", key, err)
				}
				continue
			}
			var all []setting
			decode(value, &all)
			for i, s := range all {
				if id, came := b.came(h, plugin, s.Was); s.Was != "" && !s.Came && came && !b.replayed(id) {
					b.bad("P7: timer %s of %s (%s) was ended by event %s, and its handler has committed", key, plugin, s.Was, s.Event)
				}
				if s.Set == "" || dead == nil || i < len(all)-1 {
					continue
				}
				if _, came := b.came(h, plugin, s.Set); !dead[s.Set] && !came {
					b.bad("P8: timer %s of %s (%s) is nowhere at the end", key, plugin, s.Set)
				}
			}
		}
	}
}

// came is the event as which a setting of a timer was handled.
func (b *books) came(h *Host, plugin, n string) (id string, ok bool) {
	value, version, err := h.Ledger.Get(plugin, cameKey(n))
	decode(value, &id)
	return id, err == nil && version != 0
}

// replayed reports whether a person has replayed the event.
func (b *books) replayed(id string) bool { return b.events[id] != nil && b.events[id].replayed }

// deadTimers are the settings whose timers are in the dead letters.
func (b *books) deadTimers(h *Host, dead map[string]entry.DeadLetter) map[string]bool {
	all := map[string]bool{}
	for _, d := range dead {
		if d.Kind != "timer" {
			continue
		}
		letter, err := h.Ledger.DeadLetter(d.ID)
		if err != nil {
			b.bad("dead letter of timer %s: %v", d.Key, err)
			continue
		}
		var set timed
		if err := json.Unmarshal(letter.Raw, &set); err != nil {
			b.bad("dead letter of timer %s has other data: %v", d.Key, err)
		}
		all[set.N] = true
	}
	return all
}
