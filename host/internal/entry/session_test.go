package entry

import "testing"

// A session is its sender id, whatever its name; a removed one is told by its id.
func TestSessions(t *testing.T) {
	one, two := Sessions{{"main", "1"}}, Sessions{{"main", "1"}, {"1", "2"}}
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
