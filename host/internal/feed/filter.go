package feed

import (
	"slices"
	"strings"

	"balhost/host/internal/plain"
)

// Filter says which steps a reader wants. What is empty excludes nothing.
type Filter struct {
	What     []What
	Kinds    []string
	ID       string // of the event or of the message
	Device   string // its token, or the beginning of it as a step shows it: 16 bytes at most
	Category string
	Plugin   string
	Session  string // sender id
	Text     string // is in the error or the code, in any case of letters
	Bodies   bool   // with the beginning of each body
}

// wants reports whether the reader wants s.
func (f *Filter) wants(s *Step) bool {
	switch {
	case len(f.What) > 0 && !slices.Contains(f.What, s.What),
		len(f.Kinds) > 0 && !slices.Contains(f.Kinds, s.Kind),
		f.ID != "" && f.ID != s.ID && f.ID != s.MessageID,
		f.Device != "" && f.Device != s.Device && !plain.Begins(s.Device, strings.TrimSuffix(f.Device, "…")),
		f.Category != "" && f.Category != s.Category,
		f.Plugin != "" && f.Plugin != s.Plugin,
		f.Session != "" && f.Session != s.Session,
		f.Text != "" && !holds(s.Error, f.Text) && !holds(s.Code, f.Text):
		return false
	}
	return true
}

// holds reports whether text holds part, in any case of letters.
func holds(text, part string) bool {
	return text != "" && strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
