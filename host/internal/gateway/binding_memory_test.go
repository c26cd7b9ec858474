package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// meddler is a store in which something else happens at the worst time.
type meddler struct {
	*store
	read   func() // after the next Get of a device's key
	commit func() // after the next commit's done, before its caller goes on
}

func (m *meddler) Get(owner, key string) (json.RawMessage, uint64, error) {
	value, version, err := m.store.Get(owner, key)
	if meddle := m.read; meddle != nil {
		m.read = nil
		meddle()
	}
	return value, version, err
}

func (m *meddler) Update(owner string, c entry.Changes, done func(error)) {
	meddle := m.commit
	m.commit = nil
	told := make(chan struct{})
	m.store.Update(owner, c, func(err error) {
		done(err)
		close(told)
	})
	<-told
	if meddle != nil {
		meddle()
	}
}

// Whose device it is in memory follows the commits in their order: who had a device that was
// taken away is asked again, whatever happened in between.
func TestBindingMemoryFollowsCommits(t *testing.T) {
	alice, fixed := owner{User: "alice"}, owner{Fixed: true}
	bind := func(t *testing.T, g *Gateway) error { return g.bound.bind(t.Context(), "alice", "fid-1") }
	fix := func(t *testing.T, g *Gateway) error { return g.bound.fix(t.Context(), "fid-1") }
	for name, c := range map[string]struct {
		who  owner
		had  bool // it was bound before
		do   func(*testing.T, *Gateway) error
		when func(*meddler, func())
	}{
		"unbound after the commit of bind":         {alice, false, bind, func(m *meddler, f func()) { m.commit = f }},
		"unbound after the commit of fix":          {fixed, false, fix, func(m *meddler, f func()) { m.commit = f }},
		"unbound while fix reads that it is fixed": {fixed, true, fix, func(m *meddler, f func()) { m.read = f }},
	} {
		t.Run(name, func(t *testing.T) {
			m := &meddler{store: newStore()}
			if c.had {
				if err := c.do(t, New(Options{SenderID: "4829", State: m})); err != nil {
					t.Fatal(err)
				}
			}
			g := New(Options{SenderID: "4829", State: m}) // as after a restart
			c.when(m, func() {
				if had, err := g.Unbind(t.Context(), "fid-1"); err != nil || !had {
					t.Errorf("unbind: %v %v", had, err)
				}
			})
			if err := c.do(t, g); err != nil {
				t.Fatal(err)
			}
			if g.bound.memory.knows("fid-1", c.who, time.Now()) {
				t.Error("memory still has whose it was")
			}
			if err := g.bound.bind(t.Context(), "bob", "fid-1"); err != nil {
				t.Errorf("the next user: %v", err)
			}
			if err := g.bound.bind(t.Context(), "alice", "fid-1"); !notAllowed(err) {
				t.Errorf("the user before: %v", err)
			}
		})
	}
}

// Nobody waits for this unbind any more when it is on disk. Memory has it all the same.
func TestBindingMemoryWithoutItsCaller(t *testing.T) {
	s := &late{store: newStore()}
	g := New(Options{SenderID: "4829", State: s})
	bindAll(t, g, "alice fid-1")
	ctx, cancel := context.WithCancel(t.Context())
	s.before = cancel
	if had, err := g.Unbind(ctx, "fid-1"); had || !errors.Is(err, context.Canceled) {
		t.Fatalf("unbind: %v %v", had, err)
	}
	s.then()
	if g.bound.memory.knows("fid-1", owner{User: "alice"}, time.Now()) {
		t.Error("memory still has whose it was")
	}
}

// late is a store that tells of a commit when the test says so, where before is set.
type late struct {
	*store
	before func()
	then   func()
}

func (l *late) Update(owner string, c entry.Changes, done func(error)) {
	if l.before == nil {
		l.store.Update(owner, c, done)
		return
	}
	told := make(chan error, 1)
	l.store.Update(owner, c, func(err error) { told <- err })
	l.then = func() { done(<-told) }
	l.before()
}

// A disk that is full takes nothing from whom has a device, and memory learns nothing that is
// not on disk.
func TestBindingMemoryOnAFullDisk(t *testing.T) {
	s := newStore()
	bindAll(t, New(Options{SenderID: "4829", State: s}), "alice fid-1")
	g := New(Options{SenderID: "4829", State: s})
	s.fails(entry.ErrFull)
	if err := g.bound.bind(t.Context(), "alice", "fid-1"); err != nil {
		t.Errorf("bound before: %v", err)
	}
	if g.bound.memory.knows("fid-1", owner{User: "alice"}, time.Now()) {
		t.Error("memory has what was not written")
	}
}
