package plugintest

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"balhost/sdk"
	"balhost/sdk/wire"
)

var errReplaced = errors.New("the timer was canceled or set anew")

// timers are those that a plugin has set. The store's mu guards them.
type timers struct {
	by   map[string]*timer // by key
	seq  int
	past time.Duration // that Advance has let pass
}

type timer struct {
	sdk.Timer
	seq int
	due time.Time // by the host's clock, which is past ahead
}

// set sets, replaces and cancels timers for the event by; nil: outside of events.
func (t *timers) set(all []*wire.Schedule, by *wire.Delivery, session string) {
	for _, s := range all {
		delete(t.by, s.GetKey())
		if s.GetCancel() {
			continue
		}
		m := sdk.Timer{ID: ids.next(), Key: s.GetKey(), Data: s.GetData(), Due: time.UnixMilli(s.GetAtMs())}
		m.Session, m.Device = origin(by)
		if device := s.GetDevice(); device != nil {
			m.Session, m.Device = cmp.Or(device.GetSession(), m.Session, session), device.GetDevice()
		}
		t.seq++
		t.by[m.Key] = &timer{Timer: m, seq: t.seq, due: m.Due.Add(t.past)}
	}
}

// origin is the session and the device that a timer has of the event that sets it.
func origin(by *wire.Delivery) (session, device string) {
	switch e := by.GetEvent().(type) {
	case *wire.Delivery_Upstream:
		return e.Upstream.GetSession(), e.Upstream.GetDevice()
	case *wire.Delivery_Outcome:
		return e.Outcome.GetSession(), ""
	case *wire.Delivery_Receipt:
		return e.Receipt.GetSession(), ""
	case *wire.Delivery_Timer:
		return e.Timer.GetSession(), e.Timer.GetDevice()
	}
	return "", ""
}

// replaced reports whether the event is a timer whose key is not its own any more.
func (t *timers) replaced(by *wire.Delivery) bool {
	m := by.GetTimer()
	if m == nil || by.GetDelivery() == 0 {
		return false
	}
	is := t.by[m.GetKey()]
	return is == nil || is.ID != m.GetId()
}

// end takes out the timer that was handled.
func (t *timers) end(by *wire.Delivery) {
	if m := by.GetTimer(); m != nil && by.GetDelivery() != 0 {
		delete(t.by, m.GetKey())
	}
}

// sorted are all timers, in the order in which they are due.
func (t *timers) sorted() (all []*timer) {
	for _, m := range t.by {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *timer) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.seq, b.seq)) })
	return all
}

// Timers are the timers that the plugin has set and that have not been handled, in the order
// in which they are due. Due is the time that the plugin gave.
func (h *Host) Timers() (all []sdk.Timer) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	for _, m := range h.store.timers.sorted() {
		all = append(all, m.Timer)
	}
	return all
}

// Advance lets d pass for the plugin's timers, and gives the plugin those that are due by
// then, one after the other in the order in which they are due. Those that handlers set
// meanwhile come too, if they are due by then. It returns how they ended. One that was
// retried comes again in the next Advance, with another Attempt.
//
// The plugin's own clock, time.Now, stays as it is: what a handler sets is due as long
// after its own timer as it is after time.Now. In a bubble of testing/synctest, use
// time.Sleep, and then Advance(0).
func (h *Host) Advance(d time.Duration) (results []Result) {
	h.store.mu.Lock()
	past := h.store.timers.past + d
	h.store.mu.Unlock()
	until := time.Now().Add(past + time.Millisecond) // timers are due at whole milliseconds
	tried := map[string]bool{}
	for {
		m := h.nextTimer(until, tried)
		if m == nil {
			break
		}
		tried[m.ID] = true
		results = append(results, h.fire(m))
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.timers.past = past
	return results
}

// nextTimer is the next timer that is due by until, nil for none. The clock goes to its time.
func (h *Host) nextTimer(until time.Time, tried map[string]bool) *timer {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	t := &h.store.timers
	for _, m := range t.sorted() {
		if !tried[m.ID] && !m.due.After(until) {
			t.past = max(t.past, time.Until(m.due))
			m.Attempt++
			return &timer{Timer: m.Timer}
		}
	}
	return nil
}

// fire gives the plugin a timer that it has set.
func (h *Host) fire(m *timer) Result {
	// Delivery is not 0, so that the timer counts as one of the store's; the instance numbers it anew.
	r := h.deliver(&wire.Delivery{Delivery: 1, Attempt: uint32(m.Attempt), Event: &wire.Delivery_Timer{Timer: wire.TimerToProto(&m.Timer)}})
	if r.Status == Rejected {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		if is := h.store.timers.by[m.Key]; is != nil && is.ID == m.ID {
			delete(h.store.timers.by, m.Key)
		}
	}
	return r
}

// Timer gives the plugin a timer, whether it has set one or not, and waits for the result.
// Empty fields get values: a new ID, the first session, Due now and Attempt 1.
func (h *Host) Timer(t sdk.Timer) Result {
	fill(&t.ID, ids.next())
	fill(&t.Session, h.opts.Sessions[0])
	if t.Due.IsZero() {
		t.Due = time.Now()
	}
	return h.deliver(&wire.Delivery{Attempt: uint32(max(t.Attempt, 1)), Event: &wire.Delivery_Timer{Timer: wire.TimerToProto(&t)}})
}
