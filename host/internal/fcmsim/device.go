package fcmsim

import (
	"encoding/json"
	"slices"
	"time"
)

// Limits of a device that is offline. Spec: fcm-v1-and-gateway.md A7.
const (
	maxStored = 100             // messages that don't collapse; one more discards all
	maxKeys   = 4               // collapse keys
	burst     = 20              // collapsible messages at once, if Options.Throttle is set
	refill    = 3 * time.Minute // until one more may come
)

// maxDevices is how many targets are remembered. Messages to others are only counted.
const maxDevices = 100_000

// keepData is how many messages of a device are remembered with their data. Of older
// ones only the ids are.
const keepData = 100

// device is a virtual device, or another target: a topic or a condition. Server.mu
// guards all of it.
type device struct {
	kind    Kind
	target  string // how the report calls it
	install Install
	offline bool
	gone    bool // uninstalled

	stored  []stored // for a device that is offline, or has had its burst
	deleted bool     // so many were stored that all were discarded; the device does not know it yet
	tokens  float64  // what is left of the burst
	filled  time.Time

	received []Received     // the last messages
	seen     map[string]int // for each bal_id, how often it is in received
	report   DeviceReport
}

// stored is a message that waits in FCM for its device.
type stored struct {
	Received
	expires time.Time
	key     string // "": it does not collapse
}

// Received is one message as a device got it.
type Received struct {
	Name         string            `json:"name"`             // FCM's name for it
	BalID        string            `json:"bal_id,omitempty"` // of its data
	Order        int               `json:"order"`            // the device's first message has 1
	Time         time.Time         `json:"time"`
	Data         map[string]string `json:"data,omitempty"` // of the device's last 100 messages
	Notification json.RawMessage   `json:"notification,omitempty"`
	CollapseKey  string            `json:"collapse_key,omitempty"`
	TTL          Duration          `json:"ttl"`
	Duplicate    bool              `json:"duplicate,omitempty"` // an earlier one has the same bal_id
}

// DeviceReport is what the simulator knows of one device, topic or condition.
type DeviceReport struct {
	Target     string     `json:"target"`
	Kind       Kind       `json:"kind"`
	Received   int        `json:"received"`   // messages
	Effects    int        `json:"effects"`    // messages that an app which knows bal_id acts on
	Duplicates int        `json:"duplicates"` // messages whose bal_id came before
	Waiting    int        `json:"waiting"`    // stored until the device is online
	Collapsed  int        `json:"collapsed"`  // replaced by a later one before they came
	Expired    int        `json:"expired"`    // not delivered within their TTL
	Discarded  int        `json:"discarded"`  // over 100 stored
	Deleted    int        `json:"deleted"`    // how often the app was told of that (onDeletedMessages)
	Offline    bool       `json:"offline"`
	Gone       bool       `json:"gone"` // uninstalled
	Last       []Received `json:"last"` // the last messages, oldest first; Options.Remember limits them
}

// key is how devices are found.
func (m *message) key() string {
	if m.kind == KindTopic {
		return "/topics/" + m.target
	}
	return m.target
}

// device finds a target, and remembers a new one. nil if there are too many.
func (s *Server) device(kind Kind, key string) *device {
	d := s.devices[key]
	if d == nil && len(s.order) < maxDevices {
		d = &device{kind: kind, target: key, seen: map[string]int{}, tokens: burst}
		s.devices[key] = d
		s.order = append(s.order, d)
	}
	return d
}

// deliver brings a message to its device, or stores it there. s.mu must be held.
func (s *Server) deliver(m *message, name string, now time.Time) {
	s.counts.Delivered++
	d := s.device(m.kind, m.key())
	if d == nil {
		s.counts.Forgotten++
		return
	}
	it := stored{
		Received: Received{Name: name, BalID: m.balID, Data: m.data, Notification: m.notification, CollapseKey: m.collapseKey, TTL: Duration(m.ttl)},
		expires:  now.Add(m.ttl), key: m.collapseKey,
	}
	if m.notification != nil {
		it.key = "notification" // their collapse_key is ignored
	}
	s.flush(d, now)
	switch {
	case d.offline && m.ttl == 0:
		d.report.Expired++
	case d.offline || s.opts.Throttle && it.key != "" && m.ttl > 0 && !d.spend(now):
		d.store(it)
	default:
		s.receive(d, it.Received, now)
	}
}

// spend takes one of the burst of collapsible messages. False: nothing is left.
func (d *device) spend(now time.Time) bool {
	if !d.filled.IsZero() {
		d.tokens = min(burst, d.tokens+float64(now.Sub(d.filled))/float64(refill))
	}
	d.filled = now
	if d.tokens < 1 {
		return false
	}
	d.tokens--
	return true
}

// store keeps a message for later. Of each collapse key only the last one stays.
func (d *device) store(it stored) {
	if it.key == "" {
		plain := 0
		for _, other := range d.stored {
			if other.key == "" {
				plain++
			}
		}
		if plain >= maxStored {
			d.report.Discarded += len(d.stored) + 1
			d.stored, d.deleted = nil, true
			return
		}
	} else {
		oldest, keys := -1, 0
		for i, other := range d.stored {
			if other.key == it.key {
				d.stored = slices.Delete(d.stored, i, i+1)
				d.report.Collapsed++
				oldest, keys = -1, 0
				break
			}
			if other.key != "" {
				if keys++; oldest < 0 {
					oldest = i
				}
			}
		}
		if keys >= maxKeys { // which ones survive is undefined; here it is the newest
			d.stored = slices.Delete(d.stored, oldest, oldest+1)
			d.report.Collapsed++
		}
	}
	d.stored = append(d.stored, it)
}

// flush delivers what is stored, as far as it may come now.
func (s *Server) flush(d *device, now time.Time) {
	if d.offline {
		return
	}
	if d.deleted {
		d.deleted = false
		d.report.Deleted++
	}
	for len(d.stored) > 0 {
		it := d.stored[0]
		expired := !now.Before(it.expires)
		if !expired && s.opts.Throttle && it.key != "" && !d.spend(now) {
			return
		}
		d.stored = slices.Delete(d.stored, 0, 1)
		if expired {
			d.report.Expired++
		} else {
			s.receive(d, it.Received, now)
		}
	}
}

// receive records a message at its device, and keeps only the last Options.Remember.
func (s *Server) receive(d *device, r Received, now time.Time) {
	d.report.Received++
	r.Order, r.Time = d.report.Received, now
	if r.Duplicate = r.BalID != "" && d.seen[r.BalID] > 0; r.Duplicate {
		d.report.Duplicates++
		s.counts.Duplicates++
	} else {
		d.report.Effects++
		s.counts.Effects++
	}
	s.arrived(d, r)
	if s.opts.OnReceive != nil {
		s.opts.OnReceive(d.target, r)
	}
	d.received = append(d.received, r)
	if old := len(d.received) - 1 - keepData; old >= 0 {
		d.received[old].Data, d.received[old].Notification = nil, nil
	}
	d.seen[r.BalID]++
	for len(d.received) > s.opts.Remember {
		old := d.received[0].BalID
		d.received[0] = Received{}
		d.received = d.received[1:]
		if d.seen[old]--; d.seen[old] == 0 {
			delete(d.seen, old)
		}
	}
}
