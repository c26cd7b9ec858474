package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"balhost/host/internal/entry"
)

// seen are bindings as "user/from".
func seen(all []Binding) (out []string) {
	for _, b := range all {
		out = append(out, b.User+" "+b.From)
	}
	return out
}

func bindAll(t *testing.T, g *Gateway, pairs ...string) {
	t.Helper()
	for _, pair := range pairs {
		user, from, _ := strings.Cut(pair, " ")
		if err := g.bound.bind(t.Context(), user, from); err != nil {
			t.Fatal(err)
		}
	}
}

// What is bound can be listed, by pages, by user and by device; another session's is not in it.
func TestBindings(t *testing.T) {
	s := newStore()
	g := New(Options{SenderID: "4829", State: s})
	long := strings.Repeat("ü", 300)
	bindAll(t, New(Options{SenderID: "48", State: s}), "eve fid-9")
	bindAll(t, g, "a/b fid-1", "bob fid-2", "bob fid-3", long+" fid-4")
	var got []string
	after := ""
	for range 5 {
		page, next, err := g.Bindings(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		got, after = append(got, seen(page)...), next
		if after == "" {
			break
		}
	}
	hashed := "sha256:" + digest(long)
	want := []string{"a/b fid-1", "bob fid-2", "bob fid-3", hashed + " fid-4"}
	if !slices.Equal(got, want) || after != "" {
		t.Errorf("%q, then %q; want %q", got, after, want)
	}
	for user, want := range map[string]int{"bob": 2, "a/b": 1, long: 1, hashed: 1, "eve": 0, "": 0} {
		if of, err := g.BindingsOf(user); err != nil || len(of) != want {
			t.Errorf("%.20q has %q, want %d: %v", user, seen(of), want, err)
		}
	}
	if b, ok, err := g.BindingFrom("fid-3"); err != nil || !ok || b.User != "bob" || b.Used.IsZero() {
		t.Errorf("fid-3: %+v %v %v", b, ok, err)
	}
	if b, ok, err := g.BindingFrom("fid-9"); err != nil || ok {
		t.Errorf("another session's: %+v %v", b, err)
	}
	s.fails(errors.New("no disk"))
	if _, _, err := g.Bindings("", 1); err == nil {
		t.Error("a list that failed is empty")
	}
}

// A device that is unbound is the next user's, and all counts are as if it had never been.
func TestUnbind(t *testing.T) {
	s := newStore()
	g := New(Options{SenderID: "4829", State: s})
	long := strings.Repeat("u", 300)
	bindAll(t, g, "bob fid-1", "bob fid-2", long+" fid-3")
	if err := g.bound.fix(t.Context(), "dev-1"); err != nil {
		t.Fatal(err)
	}
	if b, ok, err := g.BindingFrom("dev-1"); err != nil || !ok || b.User != "" || !b.Used.IsZero() {
		t.Errorf("a device of a credential: %+v %v %v", b, ok, err)
	}
	for _, from := range []string{"fid-1", "fid-3", "dev-1"} {
		if had, err := g.Unbind(t.Context(), from); err != nil || !had {
			t.Errorf("%s: %v %v", from, had, err)
		}
		if had, err := g.Unbind(t.Context(), from); err != nil || had {
			t.Errorf("%s once more: %v %v", from, had, err)
		}
	}
	if n := s.bound(t); n != 1 {
		t.Errorf("%d devices are counted, want 1", n)
	}
	if keys, _ := s.count(); keys != 2 { // bob, fid-2
		t.Errorf("%d keys are left, want 2", keys)
	}
	bindAll(t, g, "bob fid-1") // g does not take it for one that is written down
	if b, ok, err := g.BindingFrom("fid-1"); err != nil || !ok || b.User != "bob" {
		t.Errorf("bound again: %+v %v %v", b, ok, err)
	}
	if had, err := g.Unbind(t.Context(), "fid-1"); err != nil || !had {
		t.Errorf("unbound again: %v %v", had, err)
	}
	bindAll(t, g, "eve fid-1", "eve fid-3", "eve dev-1", "bob fid-2")
	if of, err := g.BindingsOf("eve"); err != nil || len(of) != 3 {
		t.Errorf("eve has %q: %v", seen(of), err)
	}
	s.fails(entry.ErrFull)
	if had, err := g.Unbind(t.Context(), "fid-2"); had || !errors.Is(err, entry.ErrFull) {
		t.Errorf("on a full disk: %v %v", had, err)
	}
}

// What a credential's device was taken from is not in its user's list any more.
func TestBindingsAfterFix(t *testing.T) {
	g := New(Options{SenderID: "4829", State: newStore()})
	bindAll(t, g, "bob fid-1", "bob fid-2")
	if err := g.bound.fix(t.Context(), "fid-1"); err != nil {
		t.Fatal(err)
	}
	if of, err := g.BindingsOf("bob"); err != nil || fmt.Sprint(seen(of)) != "[bob fid-2]" {
		t.Errorf("%q: %v", seen(of), err)
	}
}
