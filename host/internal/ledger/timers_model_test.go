package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// modelTimer is one setting of a timer; zero: none.
type modelTimer struct {
	n    int    // in the order of the commits
	name string // plugin and key
	set  entry.Schedule
}

type modelTimers struct {
	n       int
	names   map[string]int // by name: the setting that it leads to, waiting or as an event
	waiting []modelTimer
}

func (m *modelTimers) schedule(plugin string, s entry.Schedule) {
	name := plugin + s.Key
	m.waiting = slices.DeleteFunc(m.waiting, func(t modelTimer) bool { return t.name == name })
	delete(m.names, name)
	if !s.Cancel {
		m.n++
		m.names[name] = m.n
		m.waiting = append(m.waiting, modelTimer{m.n, name, s})
	}
}

// void: it is a timer to which its name does not lead any more.
func (m *modelTimers) void(e *modelEvent) bool {
	return e.timer.n != 0 && m.names[e.timer.name] != e.timer.n
}

// end is the end of an event that is not void.
func (m *modelTimers) end(e *modelEvent) {
	if e.timer.n != 0 {
		delete(m.names, e.timer.name)
	}
}

// due takes out those that are due at now, in their order.
func (m *modelTimers) due(now time.Time) (events []modelEvent) {
	slices.SortStableFunc(m.waiting, func(a, b modelTimer) int { return a.set.At.Compare(b.set.At) })
	for len(m.waiting) > 0 && !m.waiting[0].set.At.After(now) {
		t := m.waiting[0]
		m.waiting = m.waiting[1:]
		events = append(events, modelEvent{timer: t, Body: message.Timer{
			Session: t.set.Session, Device: t.set.Device, Key: t.set.Key, Data: t.set.Data, Due: t.set.At,
		}})
	}
	return events
}

// schedules draws timers that are set, replaced and canceled. None is due before time passes.
func (s *steps) schedules(rt *rapid.T) (all []entry.Schedule) {
	for range rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(rt, "timers") {
		n := rapid.IntRange(1, 100).Draw(rt, "timer")
		all = append(all, entry.Schedule{
			Key: rapid.SampledFrom([]string{"k", "l", "m"}).Draw(rt, "timer key"), Cancel: rapid.IntRange(0, 3).Draw(rt, "cancel") == 0,
			At: s.m.clock.now().Add(time.Duration(n) * time.Minute), Data: json.RawMessage(fmt.Sprint(n)),
			Session: "main", Device: fmt.Sprint("tok-", n), Lane: entry.Lane{Kind: entry.Timer, Hash: 7},
		})
	}
	return all
}

// fire waits until what is due is an event.
func (s *steps) fire() {
	s.m.events = append(s.m.events, s.m.timers.due(s.m.clock.now())...)
	for late := time.Now().Add(time.Minute); s.l.Counts().Timers > len(s.m.timers.waiting); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			s.rt.Fatal("timers are due, and do not come")
		}
		s.l.mu.Lock()
		s.l.timersChanged.fire() // or it looks at its clock within a second
		s.l.mu.Unlock()
	}
}
