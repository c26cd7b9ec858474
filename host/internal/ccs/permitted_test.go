package ccs

import (
	"context"
	"testing"
	"time"
)

// A wait that ends while the session looks at the clock is over, and not for ever.
// Only in real time does the clock go on between two looks.
func TestWaitEndsBetweenTwoLooks(t *testing.T) {
	s := New(Options{Name: "main", Address: "localhost:5235", SenderID: "482915730064", Key: "k", Inbox: newInbox(), Outbox: newOutbox()})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sl := &s.admission.slots[0]
	for i := range 50_000 {
		s.mu.Lock()
		sl.due = time.Now().Add(time.Duration(i%500) * time.Nanosecond)
		s.mu.Unlock()
		if err := s.permitted(ctx, sl); err != nil {
			t.Fatalf("wait %d of %v has no end: %v", i, time.Duration(i%500), err)
		}
	}
}
