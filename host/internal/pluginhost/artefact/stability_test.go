package artefact

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func usual() *Stability {
	return &Stability{Quiet: 200 * time.Millisecond, Patience: 10 * time.Second, Absence: 5 * time.Second}
}

// looks is a script for a Stability: at each time in milliseconds the folder
// holds these contents by name, and this is to come of it.
type look struct {
	ms      int
	present string // "a1 b2": name and content
	want    string // "found a", "stable a1", "busy a", "gone a"
}

func TestStability(t *testing.T) {
	for name, looks := range map[string][]look{
		"still for long enough": {
			{0, "a1", "found a"}, {199, "a1", ""}, {200, "a1", "stable a1"}, {900, "a1", ""},
		},
		"written in pieces": {
			{0, "a1", "found a"}, {150, "a2", ""}, {300, "a3", ""}, {499, "a3", ""}, {500, "a3", "stable a3"},
		},
		"changed later": {
			{0, "a1", "found a"}, {200, "a1", "stable a1"}, {5000, "a2", ""}, {5200, "a2", "stable a2"},
		},
		"written for ever": { // told once
			{0, "a1", "found a"}, {100, "a2", ""}, {9900, "a3", ""}, {10000, "a4", "busy a"}, {10100, "a5", ""}, {10300, "a5", "stable a5"},
		},
		"told again after it was stable": {
			{0, "a1", "found a"}, {10100, "a1", "stable a1"}, {10200, "a2", ""}, {10300, "a3", ""}, {10500, "a3", "stable a3"},
		},
		"gone": {
			{0, "a1", "found a"}, {200, "a1", "stable a1"}, {1000, "", ""}, {5999, "", ""}, {6000, "", "gone a"}, {9000, "a1", "found a"},
		},
		"back again, unchanged": {
			{0, "a1", "found a"}, {200, "a1", "stable a1"}, {1000, "", ""}, {3000, "a1", ""}, {9000, "a1", ""},
		},
		"back again, changed": {
			{0, "a1", "found a"}, {200, "a1", "stable a1"}, {1000, "", ""}, {1100, "a2", ""}, {1300, "a2", "stable a2"},
		},
		"apart": {
			{0, "a1", "found a"}, {100, "a1 b1", "found b"}, {200, "a1 b1", "stable a1"}, {300, "a1 b1", "stable b1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, start := usual(), time.Unix(0, 0)
			for _, l := range looks {
				present := map[string]File{}
				for _, f := range strings.Fields(l.present) {
					present[f[:1]] = File{Name: f[:1], size: int64(f[1])}
				}
				c := s.Look(start.Add(time.Duration(l.ms)*time.Millisecond), present)
				var got []string
				for _, name := range c.Found {
					got = append(got, "found "+name)
				}
				for _, f := range c.Stable {
					got = append(got, "stable "+f.Name+string(rune(f.size)))
				}
				for _, name := range c.Busy {
					got = append(got, "busy "+name)
				}
				for _, name := range c.Gone {
					got = append(got, "gone "+name)
				}
				slices.Sort(got)
				if strings.Join(got, ", ") != l.want {
					t.Errorf("at %d ms: %q, want %q", l.ms, got, l.want)
				}
			}
		})
	}
}

// Whoever waits as long as it is told misses nothing.
func TestStabilitySaysWhenToLookAgain(t *testing.T) {
	s, now := usual(), time.Unix(0, 0)
	present := map[string]File{"a": {Name: "a"}}
	if c := s.Look(now, present); c.Again != s.Quiet {
		t.Errorf("again after %v", c.Again)
	}
	now = now.Add(s.Quiet)
	if c := s.Look(now, present); len(c.Stable) != 1 || c.Again != 0 {
		t.Errorf("%+v", c)
	}
	if c := s.Look(now, nil); c.Again != s.Absence {
		t.Errorf("again after %v", c.Again)
	}
	now = now.Add(s.Absence)
	if c := s.Look(now, nil); len(c.Gone) != 1 {
		t.Errorf("%+v", c)
	}
}
