package entry

import (
	"slices"
	"strings"
	"time"
)

// Search asks for messages. A field that is zero asks for nothing.
type Search struct {
	Kinds    []Kind // 0: downstreams
	States   []State
	Session  string // sender id
	Category string
	Plugin   string
	Devices  []uint64 // hashes, as [Trace.Hash]
	Group    string   // of downstreams, and of their outcomes and receipts
	Text     string   // part of a code or an error, in lower case
	ID       string   // the beginning of an event's id, the whole of another one; see IsID
	Since    time.Time
	Until    time.Time // ended between the two, or began if it is pending
	MinAge   time.Time // began before
	Came     time.Time // of dead letters: began not before; a search that reads older ones has ended
	Most     int       // at most so many
	// Asked, when not nil, has the last word about what all else lets through.
	Asked func(*Trace) bool
	// Look, when not nil, adds to a pending message what the ledger does not know, before it
	// is matched.
	Look func(*Trace)
}

// Found is a part of what a Search asks for, the newest first.
type Found struct {
	Traces []Trace
	More   bool      // it was not all: go on from Next
	Next   Place     // of what has ended
	Seq    uint64    // of what is pending: go on before it
	ID     string    // of dead letters: go on before it
	Back   time.Time // how far back it has looked at what has ended
}

// Match reports whether the search asks for this message. It does not look at Since and Until.
func (s *Search) Match(t *Trace) bool {
	switch {
	case len(s.Kinds) > 0 && !slices.Contains(s.Kinds, t.Kind),
		len(s.States) > 0 && !slices.Contains(s.States, t.State),
		s.Session != "" && s.Session != t.Session,
		s.Category != "" && s.Category != t.Category,
		s.Plugin != "" && s.Plugin != t.Plugin,
		s.Group != "" && (t.Kind == Upstream || t.Kind == Timer || t.Group != GroupHash(t.Session, t.Plugin, s.Group)),
		len(s.Devices) > 0 && !slices.Contains(s.Devices, t.Hash),
		!s.MinAge.IsZero() && !t.Began.Before(s.MinAge):
		return false
	}
	return (s.Text == "" || t.says(s.Text)) && (s.ID == "" || t.IsCalled(s.ID)) && (s.Asked == nil || s.Asked(t))
}

// Within reports whether at is between Since and Until.
func (s *Search) Within(at time.Time) bool {
	return !at.Before(s.Since) && (s.Until.IsZero() || !at.After(s.Until))
}

// Wants reports whether messages in one of these states are asked for.
func (s *Search) Wants(pending bool) bool {
	return len(s.States) == 0 || slices.ContainsFunc(s.States, func(st State) bool { return st.Pending() == pending })
}

// says reports whether a code or an error of the message has this text.
func (t *Trace) says(text string) bool {
	has := func(s string) bool { return s != "" && strings.Contains(strings.ToLower(s), text) }
	return has(t.Code) || has(t.Error) || slices.ContainsFunc(t.Tries, func(a Attempt) bool { return has(a.Code) || has(a.Error) })
}

// leastPrefix is how much of an event's id a person must give: less is the time alone.
const leastPrefix = 6

// ulidSize is the length of an event's id.
const ulidSize = 26

// IsCalled reports whether a person may mean this message by an id.
func (t *Trace) IsCalled(id string) bool {
	if t.ID == id || t.MessageID == id {
		return true
	}
	if len(t.ID) != ulidSize && len(id) <= ulidSize {
		return false // the id of a downstream begins with that of its cause
	}
	return len(id) >= leastPrefix && len(id) < len(t.ID) && strings.EqualFold(t.ID[:len(id)], id)
}
