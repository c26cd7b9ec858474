package dispatch

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"balhost/host/internal/entry"
)

// Waiting is one event that waits for its next attempt. Its lane waits with it.
type Waiting struct {
	Seq      uint64
	Plugin   string
	Kind     entry.Kind
	Category string
	Attempts int       // so far
	Until    time.Time // then it is handed out again
	Behind   int       // events of its lane that wait for it
}

// Waiting returns events of a plugin, or with "" of all plugins, that wait for their next
// attempt. The soonest come first. It returns at most max of them, and how many there are.
func (d *Dispatcher) Waiting(ctx context.Context, plugin string, max int) (some []Waiting, all int, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error {
		for name, p := range d.plugins {
			if plugin != "" && plugin != name {
				continue
			}
			all += len(p.due)
			for _, l := range p.due.first(max) {
				head := l.head()
				some = append(some, Waiting{
					Seq: head.Seq, Plugin: name, Kind: head.Kind, Category: head.Category,
					Attempts: head.Attempts, Until: head.Due, Behind: l.events.len() - 1 + l.away,
				})
			}
		}
		return nil
	})
	slices.SortFunc(some, func(a, b Waiting) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Seq, b.Seq)) })
	return some[:min(max, len(some))], all, err
}

// Try hands out events now that wait for their next attempt: those of a plugin, or with ""
// of all plugins, that which selects. It returns how many they are. Their attempts stay
// counted. After a restart of the host, those that were not handled wait as before.
func (d *Dispatcher) Try(ctx context.Context, plugin string, which func(seq uint64) bool) (tried int, err error) {
	err = d.ask(ctx, func(d *Dispatcher) error {
		now := time.Now()
		for name, p := range d.plugins {
			if plugin != "" && plugin != name {
				continue
			}
			for _, l := range p.due {
				if which(l.head().Seq) {
					l.head().Due = now
					tried++
				}
			}
			heap.Init(&p.due) // Run wakes them next
		}
		return nil
	})
	return tried, err
}

// wake hands out events now that failed and wait for the host's backoff. An event that
// waits for a time that its handler named goes on waiting.
// Weak: if the new content has another order, lanes are read again, and wait as the ledger says.
func (d *Dispatcher) wake(p *plugin) {
	now, woken := time.Now(), 0
	for _, l := range p.due {
		if l.slowed {
			l.head().Due = now
			woken++
		}
	}
	heap.Init(&p.due)
	if woken > 0 {
		d.log.Info("new content: events that failed before are tried now", "plugin", p.name, "count", woken)
	}
}

// wait returns when the first and the last of the waiting events are handed out again.
func (p *plugin) wait() (first, last time.Time) {
	for _, l := range p.due {
		due := l.head().Due
		if first.IsZero() || due.Before(first) {
			first = due
		}
		if due.After(last) {
			last = due
		}
	}
	return first, last
}
