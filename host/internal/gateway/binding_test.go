package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/credential"
	"balhost/host/internal/entry"
)

// store is a State in memory. It checks Reads as the ledger does.
type store struct {
	mu     sync.Mutex // guards what follows
	values map[string]json.RawMessage
	at     map[string]uint64
	wrong  error // of every Update
	writes int
	told   chan struct{} // closed when the last Update's done has returned
}

func newStore() *store {
	return &store{values: map[string]json.RawMessage{}, at: map[string]uint64{}}
}

func (s *store) Get(owner, key string) (json.RawMessage, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner != StateOwner || len(key) > 512 {
		return nil, 0, fmt.Errorf("%s: %d bytes of key", owner, len(key))
	}
	return s.values[key], s.at[key], nil
}

func (s *store) List(owner string, span entry.Span) (l entry.Listing, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner != StateOwner {
		return l, fmt.Errorf("%s is not the gateway", owner)
	}
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		if !strings.HasPrefix(key, span.Prefix) || key <= span.After {
			continue
		}
		if len(l.Items) == span.Keys {
			l.More = true
			break
		}
		l.Items = append(l.Items, entry.Item{Key: key, Value: s.values[key], Version: s.at[key]})
	}
	return l, s.wrong
}

func (s *store) Update(owner string, c entry.Changes, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.wrong
	for _, r := range c.Reads {
		if s.at[r.Key] != r.Version {
			err = entry.ErrConflict
		}
	}
	if err == nil {
		s.writes++
		for _, w := range c.Writes {
			if s.at[w.Key]++; w.Value == nil {
				delete(s.values, w.Key)
				delete(s.at, w.Key)
				continue
			}
			s.values[w.Key] = w.Value
		}
	}
	before, told := s.told, make(chan struct{})
	s.told = told
	go func() { // in the order of the commits
		defer close(told)
		if before != nil {
			<-before
		}
		done(err)
	}()
}

func (s *store) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = err
}

func (s *store) count() (keys, writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.values {
		if !strings.HasPrefix(key, "count/") {
			keys++
		}
	}
	return keys, s.writes
}

func notAllowed(err error) bool { return errors.As(err, new(*credential.NotAllowed)) }

// A from belongs to the user that used it first: nobody else can claim it, after a restart
// either. Another session has its own.
func TestFromIsBoundAtFirstUse(t *testing.T) {
	s := newStore()
	for range 2 { // the second is after a restart
		b := newBindings(s, "4829")
		if err := b.bind(t.Context(), "alice", "fid-1"); err != nil {
			t.Fatal(err)
		}
		if err := b.bind(t.Context(), "mallory", "fid-1"); !notAllowed(err) {
			t.Errorf("another's from: %v", err)
		}
	}
	if keys, writes := s.count(); keys != 2 || writes > 2 {
		t.Errorf("%d keys, %d writes", keys, writes)
	}
	if err := newBindings(s, "77").bind(t.Context(), "mallory", "fid-1"); err != nil {
		t.Errorf("in another session: %v", err)
	}
	for _, user := range []string{"a/b", "a%2Fb", strings.Repeat("ü", 128), "4829/alice"} { // keys of their own, within the bounds
		if err := newBindings(s, "4829").bind(t.Context(), user, "fid of "+user); err != nil {
			t.Errorf("%q: %v", user, err)
		}
	}
	if keys, _ := s.count(); keys != 12 {
		t.Errorf("%d keys, want 12", keys)
	}
}

// Two users that claim one from at the same time: one of them gets it.
func TestTwoUsersClaimOneFrom(t *testing.T) {
	for round := range 50 {
		s := newStore()
		var all sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for n := range 8 {
			b := newBindings(s, "4829") // each as if it were a process of its own
			all.Go(func() {
				if err := b.bind(t.Context(), fmt.Sprint("user", n), "fid-1"); err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				} else if !notAllowed(err) && err != error(errBindings) {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if won != 1 {
			t.Fatalf("round %d: %d users have it", round, won)
		}
	}
}

// Where users say their from themselves, and other devices have it in their credential,
// no user gets one of those, whoever came first; what a user has lost so is no longer in
// its way.
func TestFixedFromIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := newBindings(s, "4829")
		if err := b.fix(t.Context(), "dev-1"); err != nil {
			t.Fatal(err)
		}
		if err := b.bind(t.Context(), "mallory", "dev-1"); !notAllowed(err) {
			t.Errorf("after its device: %v", err)
		}
		for n := range mostDevices {
			if err := b.bind(t.Context(), "mallory", fmt.Sprint("dev-", 2+n)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := b.fix(t.Context(), "dev-2"); err != nil {
				t.Errorf("before its device: %v", err)
			}
		}
		if err := b.bind(t.Context(), "mallory", "dev-2"); !notAllowed(err) {
			t.Errorf("it was its own before: %v", err)
		}
		time.Sleep(2 * unused)
		for n := range mostDevices - 1 { // the first of them takes the place of dev-2
			if err := b.bind(t.Context(), "mallory", fmt.Sprint("new-", n)); err != nil {
				t.Fatal(err)
			}
		}
		for _, from := range []string{"dev-1", "dev-2"} { // after a restart
			if err := newBindings(s, "4829").bind(t.Context(), "mallory", from); !notAllowed(err) {
				t.Errorf("%s: %v", from, err)
			}
		}
		s.fails(entry.ErrFull)
		if err := b.fix(t.Context(), "dev-99"); !errors.As(err, new(*credential.Unavailable)) {
			t.Errorf("no room: %v", err)
		}
	})
}

// A user has at most 20 devices. The 21st is refused, unless one was unused for 30 days:
// that one's place is given away, and its from is nobody's then. // P10
func TestUsersDevicesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := newBindings(s, "4829")
		bind := func(user, from string) error { return b.bind(t.Context(), user, from) }
		for n := range mostDevices {
			if err := bind("alice", fmt.Sprint("fid-", n)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		err := bind("alice", "fid-20")
		if !notAllowed(err) || !strings.Contains(err.Error(), "20 devices") {
			t.Errorf("the 21st: %v", err)
		}
		for range 31 { // all but fid-0 and fid-1 are used each day
			time.Sleep(24 * time.Hour)
			for n := 2; n < mostDevices; n++ {
				if err := bind("alice", fmt.Sprint("fid-", n)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := bind("alice", "fid-20"); err != nil {
			t.Errorf("in the place of an unused one: %v", err)
		}
		if err := bind("bob", "fid-0"); err != nil {
			t.Errorf("what was given away is nobody's: %v", err)
		}
		if err := bind("bob", "fid-1"); !notAllowed(err) {
			t.Errorf("what was not given away is alice's: %v", err)
		}
		if err := bind("alice", "fid-0"); !notAllowed(err) {
			t.Errorf("bob's now: %v", err)
		}
		if keys, _ := s.count(); keys != 2+mostDevices+1 || s.bound(t) != mostDevices+1 {
			t.Errorf("%d keys; %d devices are counted", keys, s.bound(t))
		}
	})
}

// bound is how many devices the store's own counts are together.
func (s *store) bound(t *testing.T) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range s.values {
		if strings.HasPrefix(key, "count/") {
			var c bindingCount
			if err := json.Unmarshal(value, &c); err != nil {
				t.Fatal(err)
			}
			n += c.Devices
		}
	}
	return n
}

// The devices of all users together have a bound, as anonymous users cost nothing. A new
// one over it is told to come later; those that are known go on, and a device that leaves
// its user makes room. // P10
func TestDevicesOfAllUsersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := newBindings(s, "4829")
		b.most = 2
		var bound []string
		refused := 0
		for n := range 1000 {
			from := fmt.Sprint("fid-", n)
			switch err := b.bind(t.Context(), fmt.Sprint("user-", n), from); {
			case err == nil:
				bound = append(bound, from)
			case errors.Is(err, errAllBound):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if n := s.bound(t); refused == 0 || len(bound) > b.most*countParts || n != len(bound) {
			t.Fatalf("%d are bound, %d refused, and the store counts %d", len(bound), refused, n)
		}
		time.Sleep(2 * noteUse)
		user := strings.Replace(bound[0], "fid", "user", 1)
		if err := b.bind(t.Context(), user, bound[0]); err != nil {
			t.Errorf("a known one: %v", err)
		}
		if err := b.fix(t.Context(), bound[0]); err != nil {
			t.Fatal(err)
		}
		if n := s.bound(t); n != len(bound)-1 {
			t.Errorf("%d are counted after one has left", n)
		}
	})
}

// When the store takes nothing, a new device is told to come later, and a known one goes
// on. Memory has a bound.
func TestBindingsWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := newBindings(s, "4829")
		if err := b.bind(t.Context(), "alice", "fid-1"); err != nil {
			t.Fatal(err)
		}
		s.fails(entry.ErrFull)
		time.Sleep(2 * noteUse)
		if err := b.bind(t.Context(), "alice", "fid-1"); err != nil {
			t.Errorf("a known one: %v", err)
		}
		if err := b.bind(t.Context(), "alice", "fid-2"); !errors.As(err, new(*credential.Unavailable)) {
			t.Errorf("a new one: %v", err)
		}
		for n := range mostKnown + 10 {
			b.memory.remember(fmt.Sprint(n), use{owner{User: "u"}, time.Now()})
		}
		if len(b.memory.known) != mostKnown {
			t.Errorf("%d are known", len(b.memory.known))
		}
	})
}
