package entry

import (
	"errors"
	"testing"

	"balhost/sdk/message"
)

// A sender is known by its ID, whatever its name; one that was removed is shown by its ID.
func TestSenders(t *testing.T) {
	one, two := Senders{{Name: "main", ID: "1"}}, Senders{{Name: "main", ID: "1"}, {Name: "1", ID: "2"}}
	for _, c := range []struct {
		senders  Senders
		name, id string
		ok       bool
	}{
		{one, "", "1", true}, {one, "main", "1", true}, {one, "1", "", false}, {one, "other", "", false},
		{two, "", "", true}, {two, "main", "1", true}, {two, "1", "2", true}, {nil, "", "", true}, {nil, "main", "", false},
	} {
		if id, ok := c.senders.ID(c.name); id != c.id || ok != c.ok {
			t.Errorf("%v: sender named %q is %q, %v; want %q, %v", c.senders, c.name, id, ok, c.id, c.ok)
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

// A name that a reload took from a sender still means that sender to plugins, until
// another sender has that name.
func TestFormerNames(t *testing.T) {
	named := func(names ...string) (s Senders) {
		for i, name := range names {
			s = append(s, Sender{Name: name, ID: string(rune('1' + i))})
		}
		return s
	}
	now := named("a", "b").Succeed(nil)
	for _, c := range []struct {
		after Senders
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
		if _, ok := now.ID("never"); ok {
			t.Error("a name that never was is known")
		}
	}
}

// Each session has the rules of its own transport; what the config does not have is not judged.
func TestSendersFit(t *testing.T) {
	senders := Senders{{Name: "old", ID: "1"}, {Name: "main", ID: "2", Transport: message.CCS}, {Name: "phones", ID: "3", Transport: message.FCMv1}}
	m := message.Checked{To: message.FID("cX"), MessageID: "d"}
	for id, want := range map[string]string{
		"1": `session "old" (ccs) cannot carry it: to.fid is set, but CCS knows no installation ids: use the registration token, or a session with fcm_v1`,
		"2": `session "main" (ccs) cannot carry it: to.fid is set, but CCS knows no installation ids: use the registration token, or a session with fcm_v1`,
		"3": "", "4": "", "": "",
	} {
		err, got := senders.Fits(id, m), ""
		if err != nil {
			got = err.Error()
		}
		if got != want || (err != nil) != errors.As(err, new(*Misfit)) {
			t.Errorf("%q: %v, want %q", id, err, want)
		}
	}
}
