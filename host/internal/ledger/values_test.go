package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"balhost/host/internal/entry"
)

func putKeys(t testing.TB, l *Ledger, plugin string, keys ...string) {
	t.Helper()
	var c entry.Changes
	for _, key := range keys {
		c.Writes = append(c.Writes, entry.Write{Key: key, Value: json.RawMessage(fmt.Sprintf("%q", key))})
	}
	if err := updateAs(t, l, plugin, c); err != nil {
		t.Fatal(err)
	}
}

func deleteKey(t testing.TB, l *Ledger, plugin, key string) {
	t.Helper()
	if err := updateAs(t, l, plugin, entry.Changes{Writes: []entry.Write{{Key: key}}}); err != nil {
		t.Fatal(err)
	}
}

func mustList(t testing.TB, l *Ledger, plugin string, s entry.Span) entry.Listing {
	t.Helper()
	got, err := l.List(plugin, s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestListInOrder: keys come in the order of their bytes, those of one plugin, from the layers
// and from badger.
func TestListInOrder(t *testing.T) {
	l := open(t, t.TempDir())
	putKeys(t, l, "p", "b/2", "b/10", "b", "b0", "é", "z", "a\x00b")
	putKeys(t, l, "pp", "b/9")
	putKeys(t, l, "o", "b/8")
	deleteKey(t, l, "p", "z")
	for _, where := range []string{"layers", "badger"} {
		for _, tt := range []struct {
			span entry.Span
			want string
			more bool
		}{
			{entry.Span{Keys: 9, Bytes: 1 << 20}, "a\x00b b b/10 b/2 b0 é", false},
			{entry.Span{Prefix: "b/", Keys: 9, Bytes: 1 << 20}, "b/10 b/2", false},
			{entry.Span{Prefix: "b", After: "b", Keys: 2, Bytes: 1 << 20}, "b/10 b/2", true},
			{entry.Span{Prefix: "b/", After: "a", Keys: 2, Bytes: 1 << 20}, "b/10 b/2", false},
			{entry.Span{Prefix: "b", After: "c", Keys: 9, Bytes: 1 << 20}, "", false},
			{entry.Span{Prefix: "nobody", Keys: 9, Bytes: 1 << 20}, "", false},
			{entry.Span{Prefix: "b", Keys: 9, Bytes: 1}, "b", true}, // one always fits
		} {
			got := mustList(t, l, "p", tt.span)
			var keys []string
			for _, it := range got.Items {
				keys = append(keys, it.Key)
				if string(it.Value) != fmt.Sprintf("%q", it.Key) {
					t.Errorf("%s: %q is %s", where, it.Key, it.Value)
				}
			}
			if strings.Join(keys, " ") != tt.want || got.More != tt.more || got.Digest.Keys != len(keys) {
				t.Errorf("%s: %+v lists %q, more %v; should list %q", where, tt.span, keys, got.More, tt.want)
			}
		}
		l = reopen(t, l)
	}
	for _, s := range []entry.Span{{Prefix: strings.Repeat("x", maxName+1)}, {After: strings.Repeat("x", maxName+1)}} {
		if _, err := l.List("p", s); !errors.Is(err, entry.ErrTooLarge) {
			t.Errorf("a long name: %v", err)
		}
	}
	verify(t, l)
}

// TestChangedRange: whatever happens to a range that was listed, all verdicts on it are void;
// what happens beside it is nothing. // P7
func TestChangedRange(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  string
		most   int
		change func(t *testing.T, l *Ledger)
		want   []string // keys of the conflict; nil: there is none
		gone   bool     // there is a conflict all the same
	}{
		{"nothing", "", 9, func(t *testing.T, l *Ledger) {}, nil, false},
		{"changed", "", 9, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b/2") }, []string{"b/2"}, false},
		{"came behind the last", "", 9, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b/9") }, []string{"b/9"}, false},
		{"came between", "", 2, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b/11") }, []string{"b/11"}, false},
		{"gone", "", 9, func(t *testing.T, l *Ledger) { deleteKey(t, l, "p", "b/1") }, nil, true},
		{"one came as one went", "", 9, func(t *testing.T, l *Ledger) { deleteKey(t, l, "p", "b/3"); putKeys(t, l, "p", "b/0") }, []string{"b/0"}, false},
		{"was made again", "", 9, func(t *testing.T, l *Ledger) { deleteKey(t, l, "p", "b/3"); putKeys(t, l, "p", "b/3") }, []string{"b/3"}, false},
		{"behind what was listed", "", 2, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b/21") }, nil, false},
		{"before what was listed", "b/1", 2, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b/1", "b/0") }, nil, false},
		{"another prefix", "", 9, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b", "b0") }, nil, false},
		{"another plugin", "", 9, func(t *testing.T, l *Ledger) { putKeys(t, l, "q", "b/2") }, nil, false},
		{"came and went", "", 9, func(t *testing.T, l *Ledger) { putKeys(t, l, "p", "b/0"); deleteKey(t, l, "p", "b/0") }, nil, false},
	} {
		for _, verdict := range []entry.Verdict{entry.Done, entry.Retry, entry.Dead} {
			t.Run(fmt.Sprint(tt.name, verdict), func(t *testing.T) {
				l := open(t, t.TempDir())
				putKeys(t, l, "p", "b/1", "b/2", "b/3")
				mustAccept(t, l, "tokA", "1", `{}`)
				got := mustList(t, l, "p", entry.Span{Prefix: "b/", After: tt.after, Keys: tt.most, Bytes: 1 << 20})
				r := entry.Range{Prefix: "b/", After: tt.after, Digest: got.Digest}
				if got.More {
					r.Last = got.Items[len(got.Items)-1].Key
				}
				s := entry.Settlement{Seq: lease(t, l, 5).Seq, Lease: 5, Verdict: verdict, Plugin: "p", Reason: "torn", Changes: entry.Changes{Ranges: []entry.Range{r}}}
				tt.change(t, l)
				err := settleAs(t, l, s)
				if tt.want == nil && !tt.gone {
					if err != nil {
						t.Error(err)
					}
					return
				}
				c, ok := errors.AsType[*entry.Conflict](err)
				if !ok || !slices.Equal(c.Keys, tt.want) || !slices.Equal(c.Prefixes, []string{"b/"}) || !errors.Is(err, entry.ErrConflict) {
					t.Errorf("conflict %+v, should name %q: %v", c, tt.want, err)
				}
				if ev := l.Events(0, 10); len(ev) != 1 || ev[0].Attempts != 0 || l.Counts().Dead != 0 {
					t.Errorf("after the conflict: %+v", ev)
				}
				verify(t, l)
			})
		}
	}
}

// TestRangeInOneBatch: what earlier operations of the same batch have done to a range counts. // P7
func TestRangeInOneBatch(t *testing.T) {
	g := openHeld(t)
	putKeys(t, g.l, "p", "b/1", "b/2")
	got := mustList(t, g.l, "p", entry.Span{Prefix: "b/", Keys: 9, Bytes: 1 << 20})
	lists := func(key string) op {
		return &update{plugin: "p", l: g.l, changes: entry.Changes{Ranges: []entry.Range{{Prefix: "b/", Digest: got.Digest}}, Writes: []entry.Write{{Key: key, Value: json.RawMessage("1")}}}}
	}
	does := func(writes ...entry.Write) op {
		return &update{plugin: "p", l: g.l, changes: entry.Changes{Writes: writes}}
	}
	errs := g.batchOf(
		lists("c"),
		does(entry.Write{Key: "b/3", Value: json.RawMessage("1")}), lists("d"),
		does(entry.Write{Key: "b/3"}), lists("e"), // as it was
		does(entry.Write{Key: "b/1"}), lists("f"),
	)
	for i, conflict := range []bool{false, false, true, false, false, false, true} {
		if errors.Is(errs[i], entry.ErrConflict) != conflict {
			t.Errorf("operation %d: %v", i, errs[i])
		}
	}
	for key, is := range map[string]bool{"c": true, "d": false, "e": true, "f": false} {
		if _, version, _ := g.l.Get("p", key); (version != 0) != is {
			t.Errorf("%s is there: %v", key, !is)
		}
	}
	verify(t, g.l)
}

// TestRangeHasALimit: what would hold up the committer is refused before it is read.
func TestRangeHasALimit(t *testing.T) {
	l := open(t, t.TempDir())
	c := entry.Changes{Ranges: []entry.Range{{Digest: entry.Digest{Keys: maxReads / 2}}, {Digest: entry.Digest{Keys: maxReads / 2}}}}
	wantErr(t, updateAs(t, l, "p", c), entry.ErrTooLarge)
	wantErr(t, updateAs(t, l, "", entry.Changes{Ranges: []entry.Range{{}}}), errNoState)
}

// TestStateOwners: plugins by name, with what they have; not the host itself.
func TestStateOwners(t *testing.T) {
	l := open(t, t.TempDir())
	if owners, err := l.StateOwners(""); err != nil || len(owners.Owners) != 0 {
		t.Errorf("at first: %v, %v", owners, err)
	}
	putKeys(t, l, "shop", "a", "b")
	putKeys(t, l, "sho", "c")
	putKeys(t, l, entry.HostState, "paused")
	putKeys(t, l, "gone", "d")
	deleteKey(t, l, "gone", "d")
	all, err := l.StateOwners("")
	owners := all.Owners
	if err != nil || len(owners) != 2 || owners[0].Plugin != "sho" || owners[0].Keys != 1 ||
		owners[1].Plugin != "shop" || owners[1].Keys != 2 || owners[1].Bytes <= owners[0].Bytes {
		t.Errorf("owners %+v: %v", owners, err)
	}
}
