package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"balhost/host/internal/entry"
)

// kill stores n dead letters, each thousandth of which is of tokB, and returns those.
func kill(t *testing.T, l *Ledger, n int) (wanted int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		from := "tokA"
		if i%1000 == 0 {
			from, wanted = "tokB", wanted+1
		}
		all.Add(1)
		l.Accept(entry.Inbound{Upstream: upstream(from, fmt.Sprint(i), `{}`), Unusable: "it is no JSON"}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			all.Done()
		})
		if i%10_000 == 0 {
			all.Wait() // so that not all are in memory at once
		}
	}
	all.Wait()
	return wanted
}

// P10: however many dead letters there are, one search, list or export of them reads no more
// than its limit, and says where to go on; all parts together read each once, and find what
// there is.
func TestDeadLettersAreReadInParts(t *testing.T) {
	letters := 200_000
	if testing.Short() { // under the race detector it takes minutes
		letters = 30_000
	}
	l := open(t, t.TempDir(), func(o *Options) { o.Light = true })
	l.limits.time = time.Hour // only what is counted ends a part
	rare := kill(t, l, letters)
	tokB := entry.DeviceHash("main", "tokB")
	filter := entry.DeadFilter{Device: "tokB"}
	for _, c := range []struct {
		what  string
		found int // by all parts
		part  func(at string) (ids []string, next string, err error)
	}{
		{"a search for none", 0, func(at string) (ids []string, next string, err error) {
			return tracesOf(l.DeadTraces(entry.Search{Plugin: "nobody", Most: 50}, at))
		}},
		{"a search for a few", rare, func(at string) (ids []string, next string, err error) {
			return tracesOf(l.DeadTraces(entry.Search{Devices: []uint64{tokB}, Most: 50}, at))
		}},
		{"a list of a few", rare, func(at string) (ids []string, next string, err error) {
			found, next, err := l.DeadOf(filter, at, 50)
			for _, d := range found {
				ids = append(ids, d.ID)
			}
			return ids, next, err
		}},
		{"an export of a few", rare, func(at string) (ids []string, next string, err error) {
			found, next, err := l.Export(filter, at, 50, math.MaxInt)
			for _, d := range found {
				ids = append(ids, d.ID)
			}
			return ids, next, err
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			begin, parts := l.searched.Load(), 0
			var all []string
			for at, more := "", true; more; parts++ {
				was := l.searched.Load()
				ids, next, err := c.part(at)
				if err != nil || len(ids) > 50 {
					t.Fatalf("%d, %v", len(ids), err)
				}
				if n := l.searched.Load() - was; n > uint64(l.limits.letters)+1 || n == 0 {
					t.Fatalf("one part reads %d letters, want up to %d", n, l.limits.letters)
				}
				all, at, more = append(all, ids...), next, next != ""
			}
			if n := l.searched.Load() - begin; n < uint64(letters) || n > uint64(letters+parts) {
				t.Errorf("all %d parts read %d letters of %d", parts, n, letters)
			}
			slices.Sort(all)
			if n := len(slices.Compact(all)); n != c.found {
				t.Errorf("%d are found, want %d", n, c.found)
			}
		})
	}
	was := l.searched.Load()
	found, err := l.DeadTraces(entry.Search{Most: 50}, "")
	if n := l.searched.Load() - was; err != nil || len(found.Traces) != 50 || !found.More || n != 51 {
		t.Errorf("the newest %d of all read %d letters: %v", len(found.Traces), n, err)
	}
	was = l.searched.Load()
	found, err = l.DeadTraces(entry.Search{Plugin: "nobody", Most: 50, Came: found.Traces[49].Began}, "")
	if n := l.searched.Load() - was; err != nil || found.More || n > uint64(l.limits.letters) {
		t.Errorf("a search that ends with the letters of a time reads %d: %+v, %v", n, found, err)
	}
}

func tracesOf(found entry.Found, err error) (ids []string, next string, _ error) {
	for _, t := range found.Traces {
		ids = append(ids, t.ID)
	}
	if found.More {
		next = found.ID
	}
	return ids, next, err
}

// P10: of an owner with very much state not all is counted, and its list has pages.
func TestStateOwnersAreReadInParts(t *testing.T) {
	l := open(t, t.TempDir())
	l.limits.keys, l.limits.time = 10, time.Hour
	keys := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("key-", i))
		}
		return all
	}
	putKeys(t, l, "a", keys(5)...)
	putKeys(t, l, "b", keys(300)...)
	putKeys(t, l, "c", keys(10)...)
	putKeys(t, l, entry.HostState, "paused")
	all, err := l.StateOwners("")
	if err != nil || len(all.Owners) != 3 || all.Next != "" {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, want := range []entry.StateOwner{{Plugin: "a", Keys: 5}, {Plugin: "b", Keys: 10, More: true}, {Plugin: "c", Keys: 10}} {
		all.Owners[i].Bytes = 0
		if all.Owners[i] != want {
			t.Errorf("%+v, want %+v", all.Owners[i], want)
		}
	}
	if n := l.searched.Load(); n > 30 {
		t.Errorf("it reads %d keys", n)
	}
	l.limits.bytes = 1
	var names []string
	for at, more := "", true; more; {
		part, err := l.StateOwners(at)
		if err != nil || len(part.Owners) > 1 {
			t.Fatalf("%+v, %v", part, err)
		}
		for _, o := range part.Owners {
			names = append(names, o.Plugin)
		}
		at, more = part.Next, part.Next != ""
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("by parts: %v", names)
	}
}

// P10: however many ask for it, one examination runs at a time.
func TestExaminationsWaitForEachOther(t *testing.T) {
	l := open(t, t.TempDir())
	l.examining <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Examine(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("beside another one: %v", err)
	}
	<-l.examining
	for range 2 {
		if e, err := l.Examine(t.Context()); err != nil || len(e.Problems) > 0 {
			t.Errorf("%+v, %v", e, err)
		}
	}
}
