package turns

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// desk is a table and the names of the turns that it has granted.
type desk struct {
	*testing.T
	*Table
	watched map[string]bool
	granted []string
}

func newDesk(t *testing.T) *desk {
	d := &desk{T: t, watched: map[string]bool{}}
	d.Table = New(func(key string, on bool) {
		if d.watched[key] == on {
			t.Errorf("key %q: watched %v twice", key, on)
		}
		d.watched[key] = on
	})
	d.MaxGets = 100
	return d
}

func (d *desk) grant(name string) func() {
	return func() { d.granted = append(d.granted, name) }
}

// got checks what was granted since the last call.
func (d *desk) got(want ...string) {
	d.Helper()
	for _, turn := range d.Ready() {
		turn.Grant()
	}
	if !slices.Equal(d.granted, want) {
		d.Errorf("granted %q, want %q", d.granted, want)
	}
	d.granted = nil
}

// hot makes keys hot: runs that write them have lost.
func (d *desk) hot(keys ...string) { d.Lost(keys, func(string) bool { return true }, start) }

func owning(keys ...string) map[string]Mode {
	m := map[string]Mode{}
	for _, k := range keys {
		m[k] = Owning
	}
	return m
}

// empty checks that the table is empty.
func (d *desk) empty() {
	d.Helper()
	d.Tidy(start.Add(time.Hour))
	if n := len(d.keys) + len(d.landing) + d.waiting + d.gets + len(d.gate) + d.inside; n != 0 || d.whole != nil || len(d.wholes) > 0 || len(d.ready) > 0 {
		d.Errorf("left: %d keys, %d landing, %d waiting, %d gets", len(d.keys), len(d.landing), d.waiting, d.gets)
	}
	for key, on := range d.watched {
		if on {
			d.Errorf("key %q is still watched", key)
		}
	}
}

func TestWhatNobodyContendsForIsFree(t *testing.T) {
	d := newDesk(t)
	var r Run
	if d.Get(&r, "k", start, nil) != nil || d.Commit(&r, []string{"k"}, nil) != nil || len(d.keys) != 0 {
		t.Error("a key that nobody has lost over has an entry")
	}
	d.Landed([]string{"k"})
	d.End(&r)
	d.empty()
}

func TestClaimedRunCannotLose(t *testing.T) {
	d := newDesk(t)
	claimed, other := &Run{}, &Run{}
	d.Claim(claimed, map[string]Mode{"w": Owning, "r": Reading}, d.grant("claimed"))
	d.got("claimed")
	for _, key := range []string{"w", "r"} {
		if d.Commit(other, []string{key, "free"}, d.grant("commit "+key)) == nil {
			t.Errorf("a commit of %q goes while it is claimed", key)
		}
	}
	if d.Get(other, "r", start, nil) != nil {
		t.Error("a Get waits for one that only reads")
	}
	if !d.watched["w"] || d.watched["r"] {
		t.Errorf("watched: %v", d.watched)
	}
	if d.Commit(claimed, []string{"w", "new"}, nil) != nil {
		t.Error("a claimed run waits")
	}
	d.got()
	d.Landed([]string{"w", "new"})
	d.End(claimed)
	d.granted = nil
	for _, turn := range d.Ready() {
		turn.Grant()
	}
	slices.Sort(d.granted)
	d.got("commit r", "commit w")
	d.Landed([]string{"w", "free"})
	d.Landed([]string{"r", "free"})
	d.empty()
}

// Claims are granted in the order of asking, with all keys at once. They wait for
// commits on their way.
func TestClaimsInOrder(t *testing.T) {
	d := newDesk(t)
	a, b, c := &Run{}, &Run{}, &Run{}
	d.Land([]string{"y"})
	d.Claim(a, owning("x", "y"), d.grant("a"))
	d.Claim(b, owning("y", "z"), d.grant("b"))
	d.Claim(c, owning("z"), d.grant("c")) // free, but b was first
	d.got()
	d.Landed([]string{"y"})
	d.got("a")
	d.End(a)
	d.got("b")
	d.End(b)
	d.got("c")
	d.End(c)
	d.empty()
}

func TestFreshRunsTakeTurnsAtHotKeys(t *testing.T) {
	d := newDesk(t)
	d.hot("k")
	a, b, c := &Run{}, &Run{}, &Run{}
	if d.Get(a, "k", start, nil) != nil {
		t.Fatal("the first one waits")
	}
	second := d.Get(b, "k", start, d.grant("b"))
	d.Get(c, "k", start, d.grant("c"))
	d.got()
	d.Cancel(second) // its ctx has ended
	if d.Commit(a, []string{"k"}, nil) != nil {
		t.Error("the holder waits")
	}
	d.End(a)
	d.got() // its commit is on its way
	d.Landed([]string{"k"})
	d.got("c")
	d.End(c)
	d.Tidy(start.Add(heat / 2))
	if !d.watched["k"] {
		t.Error("cold at once")
	}
	d.empty()
}

// A key that is mostly read gets no turns, although a writer has lost over it.
func TestReadersAreNotSerialised(t *testing.T) {
	d := newDesk(t)
	d.Lost([]string{"config"}, func(string) bool { return false }, start)
	if d.watched["config"] {
		t.Error("watched after losses of those who only read")
	}
	d.hot("config")
	for range 3 {
		d.Saw("config", false)
	}
	if d.watched["config"] {
		t.Error("watched, though most who read it don't write it")
	}
	d.Saw("unknown", true)
	d.empty()
}

// A Get that would close a circle doesn't wait, whatever the length of the circle.
func TestNoCircle(t *testing.T) {
	d := newDesk(t)
	d.hot("a", "b", "c", "x")
	ra, rb, rc := &Run{}, &Run{}, &Run{}
	d.Get(ra, "a", start, nil)
	d.Get(rb, "b", start, nil)
	d.Get(rc, "c", start, nil)
	if d.Get(ra, "b", start, d.grant("a has b")) == nil {
		t.Fatal("no circle, and no wait")
	}
	d.Claim(&Run{}, owning("a", "x"), d.grant("claim")) // waits for ra
	if d.Get(rb, "x", start, d.grant("b has x")) != nil {
		t.Error("b waits behind the claim, that waits for a, that waits for b")
	}
	if d.Get(rc, "a", start, d.grant("c has a")) == nil {
		t.Error("c waits for nobody's loss")
	}
	d.End(rb)
	d.got("a has b")
	d.End(ra)
	d.got("claim")
}

// After a circle few fresh runs may hold its keys at once. The others wait and hold
// nothing. Each run that ends makes room again.
func TestTangledKeysHaveAGate(t *testing.T) {
	d := newDesk(t)
	d.hot("a", "b", "c")
	ra, rb, rc := &Run{}, &Run{}, &Run{}
	d.Get(ra, "a", start, nil)
	d.Get(rb, "b", start, nil)
	d.Get(ra, "b", start, d.grant("a has b"))
	if d.Get(rb, "a", start, nil) != nil {
		t.Fatal("a circle")
	}
	if d.Get(rc, "c", start, nil) != nil {
		t.Error("c has nothing to do with it")
	}
	d.End(rc)
	first, second := &Run{}, &Run{}
	d.Get(first, "a", start, d.grant("first"))
	d.Get(second, "b", start, d.grant("second"))
	d.End(rb)
	d.got("a has b")
	d.End(ra)
	d.got("first")
	d.Get(ra, "b", start, d.grant("again")) // b is free, and there is room for one only
	d.got()
	d.End(first)
	d.got("second")
	d.End(second)
	d.got("again")
	d.End(ra)
	for range 100 {
		run := &Run{}
		d.Get(run, "a", start, nil)
		d.End(run)
	}
	if d.Get(ra, "a", start, nil) != nil || d.Get(rb, "b", start, nil) != nil {
		t.Error("the room has not grown")
	}
	d.End(ra)
	d.End(rb)
	d.empty()
}

// A Put without a Get waits for the runs that hold the key. If its run holds keys
// itself, it waits only for claimed runs. Otherwise two runs could wait for each other.
func TestCommitsOfOthers(t *testing.T) {
	d := newDesk(t)
	d.hot("a", "b")
	ra, rb := &Run{}, &Run{}
	d.Get(ra, "a", start, nil)
	d.Get(rb, "b", start, nil)
	if d.Commit(nil, []string{"a"}, d.grant("blind")) == nil {
		t.Error("a blind Put makes the holder lose")
	}
	if d.Commit(rb, []string{"a", "b"}, nil) != nil {
		t.Error("a holder's commit waits for a fresh holder")
	}
	d.Landed([]string{"a", "b"})
	d.End(rb)
	d.End(ra)
	d.got("blind")
	d.Landed([]string{"a"})

	claimed, holder := &Run{}, &Run{}
	d.Get(holder, "b", start, nil)
	d.Claim(claimed, owning("a"), d.grant("claimed"))
	d.got("claimed")
	d.Claim(&Run{}, owning("a"), d.grant("next"))
	d.Commit(holder, []string{"a"}, d.grant("holder"))
	d.End(claimed)
	d.got("holder") // before the next claim, because others wait for this run
	d.Landed([]string{"a"})
	d.End(holder)
	d.got("next")
}

func TestWholeState(t *testing.T) {
	d := newDesk(t)
	d.hot("a", "b")
	ra, whole, second := &Run{}, &Run{}, &Run{}
	d.Get(ra, "a", start, nil)
	d.Claim(&Run{}, nil, d.grant("of nothing"))
	d.got("of nothing")
	d.ClaimAll(whole, d.grant("whole"))
	d.ClaimAll(second, d.grant("second"))
	if d.Commit(nil, []string{"x"}, d.grant("x")) == nil {
		t.Error("a commit overtakes")
	}
	if d.Get(&Run{}, "b", start, d.grant("b")) == nil {
		t.Error("a fresh run overtakes")
	}
	if d.Get(ra, "b", start, nil) != nil {
		t.Error("the run that it waits for waits")
	}
	if d.Commit(ra, []string{"a"}, nil) != nil {
		t.Error("the run that it waits for waits")
	}
	d.End(ra)
	d.got()
	d.Landed([]string{"a"})
	d.got("whole")
	if d.Commit(whole, []string{"y"}, nil) != nil {
		t.Error("it waits for itself")
	}
	d.Landed([]string{"y"})
	d.End(whole)
	for _, turn := range d.Ready() {
		turn.Grant()
	}
	slices.Sort(d.granted) // a Get and a commit of different keys come in any order
	d.got("b", "x")
}

// TestEverybodyGetsOn lets runs get, lose, claim, commit and give up at random over a
// few keys. Each run ends, no commit writes a key that a claimed run holds, and the
// table is empty at the end.
func TestEverybodyGetsOn(t *testing.T) {
	for seed := range uint64(300) {
		play(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// actor is one event and its runs until it is done.
type actor struct {
	run     *Run
	keys    []string // it gets these, one after the other
	got     int
	writes  []string
	asleep  *Turn
	landing bool
	lost    int
}

func play(t *testing.T, seed uint64) {
	d := newDesk(t)
	d.MaxGets = 8
	rnd := rand.New(rand.NewPCG(seed, 0))
	now := start
	names := []string{"a", "b", "c", "d", "e"}[:2+rnd.IntN(4)]
	claimed := map[*actor]map[string]Mode{}
	var all []*actor
	for range 12 {
		all = append(all, &actor{run: &Run{}})
	}
	begin := func(a *actor) {
		a.keys, a.writes, a.got = nil, nil, 0
		for _, i := range rnd.Perm(len(names))[:1+rnd.IntN(len(names))] {
			a.keys = append(a.keys, names[i])
			if rnd.IntN(3) > 0 {
				a.writes = append(a.writes, names[i])
			}
		}
	}
	for _, a := range all {
		begin(a)
	}
	left, steps := 12*20, 0
	var landing []*actor
	for ; left > 0; steps++ {
		if steps > 200_000 {
			t.Fatalf("stands still with %d left, %d waiting", left, d.Waiting())
		}
		for _, turn := range d.Ready() {
			turn.Grant()
		}
		now = now.Add(time.Millisecond)
		if len(landing) > 0 && rnd.IntN(3) == 0 {
			a := landing[0]
			landing = landing[1:]
			a.landing = false
			d.Landed(a.writes)
			for _, key := range a.keys {
				d.Saw(key, slices.Contains(a.writes, key))
			}
			wins := rnd.IntN(3) > 0 || claimed[a] != nil
			d.End(a.run)
			delete(claimed, a)
			a.run = &Run{}
			if wins {
				left--
				a.lost = 0
				begin(a)
				continue
			}
			d.Lost(a.keys[:1], func(key string) bool { return slices.Contains(a.writes, key) }, now)
			a.lost, a.got = a.lost+1, 0
			keys := map[string]Mode{}
			for _, key := range a.keys {
				keys[key] = Reading
			}
			for _, key := range a.writes {
				keys[key] = Owning
			}
			granted := func() { a.asleep, claimed[a] = nil, keys }
			if a.lost > 2 {
				a.asleep = d.ClaimAll(a.run, granted)
			} else {
				a.asleep = d.Claim(a.run, keys, granted)
			}
			continue
		}
		a := all[rnd.IntN(len(all))]
		switch {
		case a.landing:
		case a.asleep != nil && !a.asleep.Over():
			if a.asleep.get && rnd.IntN(200) == 0 { // its ctx has ended
				d.Cancel(a.asleep)
				a.asleep = nil
				a.got++
			}
		case a.asleep != nil: // granted, and Grant comes
		case rnd.IntN(300) == 0: // its process dies
			d.End(a.run)
			delete(claimed, a)
			a.run = &Run{}
			begin(a)
		case a.got < len(a.keys):
			if !d.watched[a.keys[a.got]] {
				a.got++
			} else if turn := d.Get(a.run, a.keys[a.got], now, func() { a.asleep = nil; a.got++ }); turn != nil {
				a.asleep = turn
			} else {
				a.got++
			}
		default:
			commit := func() {
				a.asleep, a.landing = nil, true
				landing = append(landing, a)
				for other, keys := range claimed {
					for _, key := range a.writes {
						if _, has := keys[key]; has && left > 0 && other != a && claimed[a] == nil {
							t.Errorf("a commit of %q goes beside a claimed run", key)
						}
					}
				}
			}
			if turn := d.Commit(a.run, a.writes, commit); turn != nil {
				a.asleep = turn
			} else {
				commit()
			}
		}
		if steps%100 == 0 {
			d.Tidy(now)
		}
	}
	for _, a := range all {
		if a.asleep != nil {
			d.Cancel(a.asleep)
		}
		d.End(a.run)
	}
	for range 3 { // what the ends have granted
		for _, turn := range d.Ready() {
			turn.Grant()
		}
		for _, a := range landing {
			d.Landed(a.writes)
		}
		landing = nil
		for _, a := range all {
			d.End(a.run)
		}
	}
	d.Tidy(now.Add(time.Hour))
	if len(d.keys)+d.waiting+d.gets+len(d.landing)+len(d.gate)+d.inside > 0 {
		t.Errorf("left: keys %v, %d waiting, %d gets, landing %v", slices.Collect(maps.Keys(d.keys)), d.waiting, d.gets, d.landing)
	}
}
