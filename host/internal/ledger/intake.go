package ledger

import (
	"sync"

	"balhost/host/internal/entry"
)

// intake is the senders of which nothing new is stored, because a person wants that. It is as
// if the disk were full for them alone (P1): what comes is not acked, and comes again. The
// host stores which these are.
type intake struct {
	mu      sync.Mutex
	stopped map[string]chan struct{} // closed when the sender's intake goes on; the map is replaced when it changes
}

// StopIntake stops the intake of a sender until ResumeIntake: Accept gives
// entry.ErrPaused. What was stored before is still a duplicate, and acked, as long as
// nothing before it in its line was refused.
func (l *Ledger) StopIntake(sender string) {
	l.intake.change(func(m map[string]chan struct{}) {
		if m[sender] == nil {
			m[sender] = make(chan struct{})
		}
	})
}

// ResumeIntake undoes StopIntake.
func (l *Ledger) ResumeIntake(sender string) {
	l.intake.change(func(m map[string]chan struct{}) {
		if c := m[sender]; c != nil {
			close(c)
		}
		delete(m, sender)
	})
}

// RoomOf returns a channel that is closed when a sender's messages may be stored again: at
// once, if its intake is not stopped and the ledger is not full.
func (l *Ledger) RoomOf(sender string) <-chan struct{} {
	if c := l.intake.now()[sender]; c != nil {
		return c
	}
	return l.Room()
}

// change changes a copy: batches read the map without a lock.
func (i *intake) change(f func(map[string]chan struct{})) {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := map[string]chan struct{}{}
	for sender, c := range i.stopped {
		next[sender] = c
	}
	f(next)
	i.stopped = next
}

func (i *intake) now() map[string]chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stopped
}

// closed is why a message of a sender is not stored now; nil if it is.
func (s *stamp) closed(sender string) error {
	switch {
	case s.full:
		return entry.ErrFull
	case s.stopped[sender] != nil:
		return entry.ErrPaused
	}
	return nil
}
