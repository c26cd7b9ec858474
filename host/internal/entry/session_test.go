package entry

import "testing"

// A session is its sender id, whatever its name; a removed one is told by its id.
func TestSessions(t *testing.T) {
	one, two := Sessions{{Name: "main", SenderID: "1"}}, Sessions{{Name: "main", SenderID: "1"}, {Name: "1", SenderID: "2"}}
	for _, c := range []struct {
		sessions Sessions
		name, id string
		ok       bool
	}{
		{one, "", "1", true}, {one, "main", "1", true}, {one, "1", "", false}, {one, "other", "", false},
		{two, "", "", true}, {two, "main", "1", true}, {two, "1", "2", true}, {nil, "", "", true}, {nil, "main", "", false},
	} {
		if id, ok := c.sessions.SenderID(c.name); id != c.id || ok != c.ok {
			t.Errorf("%v: session %q is %q, %v; want %q, %v", c.sessions, c.name, id, ok, c.id, c.ok)
		}
	}
	for id, name := range map[string]string{"1": "main", "2": "1", "3": "3"} {
		if got := two.Name(id); got != name {
			t.Errorf("sender %q is %q, want %q", id, got, name)
		}
	}
	if names := two.Names(); len(names) != 2 || names[0] != "main" || names[1] != "1" {
		t.Errorf("names %q", names)
	}
}

// A name that a reload took from a session still means it to plugins, until
// another session has that name.
func TestFormerNames(t *testing.T) {
	named := func(names ...string) (s Sessions) {
		for i, name := range names {
			s = append(s, Session{Name: name, SenderID: string(rune('1' + i))})
		}
		return s
	}
	now := named("a", "b").Succeed(nil)
	for _, c := range []struct {
		after Sessions
		want  map[string]string // "": refused
	}{
		{named("c", "b"), map[string]string{"a": "1", "c": "1", "b": "2"}},
		{named("d", "c"), map[string]string{"a": "1", "d": "1", "b": "2", "c": "2"}},
		{named("d"), map[string]string{"a": "1", "c": "", "d": "1", "b": "", "": "1"}},
		{named("d", "a"), map[string]string{"a": "2", "c": "", "b": ""}},
	} {
		now = c.after.Succeed(now)
		for name, want := range c.want {
			if id, ok := now.Meant(name); id != want || ok != (want != "") {
				t.Errorf("%v: %q means %q, %v; want %q", now, name, id, ok, want)
			}
		}
		if _, ok := now.SenderID("never"); ok {
			t.Error("a name that never was is known")
		}
	}
}
