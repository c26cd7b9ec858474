package outbox

import (
	"slices"
	"time"
)

// Stats say what is in the outbox now.
type Stats struct {
	Pending int       // without an outcome, whatever they wait for
	Ready   int       // may go as soon as a connection has room
	Later   int       // wait for a time: retry, slow-down
	Next    time.Time // when the first of them may go; zero for none
	Taken   int       // with a connection
	Groups  int       // groups that have anything pending
	Slowed  int       // targets that rest
	Refused int       // sessions that are halted
	Halted  time.Time // of a session that CCS refuses: nothing goes before this; of several, the last
}

// Stats are those of the sessions with these sender ids, or of all.
func (b *Outbox) Stats(sessions ...string) Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(sessions) == 0 {
		all := Stats{Pending: len(b.items)}
		for _, s := range b.sessions {
			s.addTo(&all)
		}
		return all
	}
	var some Stats
	for _, id := range sessions {
		s := b.session(id)
		s.addTo(&some)
		some.Pending += s.pending
	}
	return some
}

// Sessions are the sender ids of those for which something is pending, sorted.
func (b *Outbox) Sessions() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id, s := range b.sessions {
		if s.pending > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (s *session) addTo(t *Stats) {
	t.Ready += len(s.ready.items) + len(s.suspects.items)
	t.Later += len(s.later.items)
	if it := s.later.top(); it != nil && (t.Next.IsZero() || it.when.Before(t.Next)) {
		t.Next = it.when
	}
	t.Taken += s.taken
	t.Groups += len(s.groups)
	t.Slowed += len(s.rests)
	if !s.halted.IsZero() {
		t.Refused++
	}
	if s.halted.After(t.Halted) {
		t.Halted = s.halted
	}
}
