// Package turns decides who may use which keys of a plugin's state next (P7).
// The ledger alone says whether a commit stands; this only keeps handlers from
// running in vain, and one that has lost from losing again. It is pure.
//
// A run that has lost claims the keys it used before it runs again: all at once,
// in the order of asking, holding nothing while it waits. While a claimed run
// goes on, commits of others that write its keys wait, so it can't lose by them;
// and it waits for nothing, so nobody waits in a circle. A key over which runs
// that read and wrote it have lost is hot for a while: there a fresh run takes
// its turn at its first Get, so that it need not lose at all. Keys that are
// mostly read are never handed on one by one. A wait that would close a circle is
// no wait: that run goes on, and the ledger decides. Where that happens, the keys
// are tangled, and only so many fresh runs may hold such ones at once as seldom
// meet in a circle; the others wait at the gate, and hold nothing.
//
// What nobody contends for has no entry here. Start at [Table].
package turns

import (
	"slices"
	"time"
)

// Mode says what a key is wanted for.
type Mode uint8

// The modes. Writing is a commit's: those of several runs don't wait for each other.
const (
	Reading Mode = iota + 1
	Writing
	Owning // reading it and then writing it
)

// conflict reports whether two can't have a key at the same time.
func conflict(a, b Mode) bool { return a != b || a == Owning }

const (
	heat = 10 * time.Second // a key stays hot after someone has lost or waited
	most = 4                // how sure a key can be that runs which read it write it, too

	// The room within the gate: half after a circle, more by a little with each
	// run that has ended.
	maxRoom, moreRoom = 64, 0.02
)

// Run is one run of a handler, or of an update outside of one, as far as it holds
// keys. The zero value holds none.
type Run struct {
	claimed bool // its keys were claimed before it began
	inside  bool // it has passed the gate
	whole   bool // it has the whole state
	holds   map[string]Mode
	waits   []*Turn // its Gets
}

// Turn is a wait for keys.
type Turn struct {
	Grant func() // what comes of it; the caller of Ready calls it

	number uint64 // in the order of asking
	run    *Run   // nil: a commit of a run that holds nothing
	keys   map[string]Mode
	get    bool // of a run that goes on meanwhile
	commit bool
	ahead  bool // a commit of a run that holds keys: it waits for claimed runs alone
	whole  bool
	over   bool // granted or cancelled
}

// Over reports whether the turn has been granted or cancelled.
func (t *Turn) Over() bool { return t.over }

// key is what is known of one key while it is held, waited for or hot.
type key struct {
	name    string
	holders map[*Run]Mode
	line    []*Turn // in the order of asking, commits that go ahead first
	hot     time.Time
	tangled bool
	score   int // above 0: those who read it mostly write it
	watched bool
}

// Table is the turns at one plugin's state. It has one owner.
type Table struct {
	// Watch is told which keys a Get must ask for; all others are free.
	Watch func(key string, on bool)
	// MaxGets is how many Gets may wait at once; more are not delayed.
	MaxGets int

	keys    map[string]*key
	landing map[string]int // commits on their way that write it
	turns   uint64
	whole   *Turn   // who wants, or has, the whole state
	wholes  []*Turn // who wants it after that
	gets    int     // waiting
	waiting int     // turns of all kinds
	ready   []*Turn

	gate   []*Turn // Gets of runs that hold nothing, each in no line yet
	room   float64 // for runs within it
	inside int
}

// New is an empty table.
func New(watch func(key string, on bool)) *Table {
	return &Table{Watch: watch, keys: map[string]*key{}, landing: map[string]int{}, room: maxRoom}
}

// Ready takes what was granted since the last time. Their Grant is to be called.
func (t *Table) Ready() []*Turn {
	ready := t.ready
	t.ready = nil
	return ready
}

// Waiting is how many turns wait.
func (t *Table) Waiting() int { return t.waiting }

// Get asks for a key that a fresh run is about to read. nil: it may read at once.
func (t *Table) Get(r *Run, name string, now time.Time, grant func()) *Turn {
	k := t.keys[name]
	if k == nil || !k.watched || r.holds[name] != 0 || r.whole {
		return nil
	}
	turn := &Turn{Grant: grant, number: t.next(), run: r, keys: map[string]Mode{name: k.mode()}, get: true}
	switch {
	case len(r.waits) > 0: // one wait at a time, or it might hold and wait in an order that nobody has checked
		return nil
	case r.claimed:
		if !t.blocked(turn) {
			t.hold(r, name, k.mode())
		}
		return nil
	case k.tangled && !r.inside && len(r.holds) == 0 && (t.inside >= int(t.room) || len(t.gate) > 0):
		if t.gets >= t.MaxGets {
			return nil
		}
		t.wait(turn, k, now)
		t.waiting++
		t.gate = append(t.gate, turn)
		return turn
	case !t.blocked(turn):
		t.enter(r, k)
		t.hold(r, name, k.mode())
		return nil
	case t.gets >= t.MaxGets:
		return nil
	case len(r.holds) > 0 && t.circle(turn, r):
		t.tangle(r, k)
		return nil
	}
	t.enter(r, k)
	t.wait(turn, k, now)
	t.line(turn)
	return turn
}

func (t *Table) wait(turn *Turn, k *key, now time.Time) {
	k.hot = now.Add(heat)
	t.gets++
	turn.run.waits = append(turn.run.waits, turn)
}

// enter counts a fresh run at a tangled key.
func (t *Table) enter(r *Run, k *key) {
	if k.tangled && !r.inside {
		r.inside = true
		t.inside++
	}
}

// tangle notes that runs which hold and want these keys meet in circles.
func (t *Table) tangle(r *Run, wants *key) {
	t.room = max(1, min(t.room, float64(t.inside))/2)
	wants.tangled = true
	for name := range r.holds {
		t.keys[name].tangled = true
	}
}

// open lets those at the gate go to their lines, as far as there is room.
func (t *Table) open() {
	for len(t.gate) > 0 && t.inside < int(t.room) {
		turn := t.gate[0]
		t.gate = t.gate[1:]
		turn.run.inside = true
		t.inside++
		t.waiting--
		t.line(turn)
		t.try(turn)
	}
}

// Claim asks for all keys that a run will use, before it begins.
func (t *Table) Claim(r *Run, keys map[string]Mode, grant func()) *Turn {
	r.claimed = true
	turn := &Turn{Grant: grant, number: t.next(), run: r, keys: keys}
	if len(keys) == 0 { // no line to wait in
		turn.over = true
		t.ready = append(t.ready, turn)
		return turn
	}
	t.line(turn)
	t.try(turn)
	return turn
}

// ClaimAll asks for the whole state, for a run whose keys can't be foreseen.
func (t *Table) ClaimAll(r *Run, grant func()) *Turn {
	r.claimed = true
	turn := &Turn{Grant: grant, number: t.next(), run: r, whole: true}
	t.waiting++
	t.wholes = append(t.wholes, turn)
	t.tryWhole()
	return turn
}

// Commit asks whether a run may commit what it has written; r is nil when it
// holds nothing. nil: now, and Landed follows. When the turn is granted, Landed
// follows, too.
func (t *Table) Commit(r *Run, writes []string, grant func()) *Turn {
	if len(writes) == 0 {
		return nil
	}
	holds := r != nil && len(r.holds) > 0
	if holds && r.claimed || r != nil && r.whole || len(t.keys) == 0 && t.whole == nil {
		t.Land(writes)
		return nil
	}
	turn := &Turn{Grant: grant, run: r, keys: make(map[string]Mode, len(writes)), commit: true, ahead: holds}
	known := t.whole != nil
	for _, name := range writes {
		turn.keys[name] = Writing
		known = known || t.keys[name] != nil
	}
	if known {
		turn.number = t.next()
	}
	if !known || !t.blocked(turn) {
		t.Land(writes)
		return nil
	}
	t.line(turn)
	return turn
}

// Land says that a commit of these keys is on its way. Commit does so itself.
func (t *Table) Land(writes []string) {
	for _, name := range writes {
		t.landing[name]++
	}
}

// Landed says that such a commit has ended, in whatever way.
func (t *Table) Landed(writes []string) {
	for _, name := range writes {
		if t.landing[name]--; t.landing[name] <= 0 {
			delete(t.landing, name)
			if k := t.keys[name]; k != nil {
				t.wake(k)
			}
		}
	}
	t.tryWhole()
}

// End gives back what a run holds, and ends its waits.
func (t *Table) End(r *Run) {
	if r == nil {
		return
	}
	for len(r.waits) > 0 {
		t.Cancel(r.waits[0])
	}
	holds := r.holds
	r.holds = nil
	if r.inside {
		r.inside = false
		t.inside--
		t.room = min(t.room+moreRoom, maxRoom)
	}
	for name := range holds {
		delete(t.keys[name].holders, r)
	}
	if r.whole {
		r.whole, t.whole = false, nil
		t.wakeAll()
	}
	for name := range holds {
		if k := t.keys[name]; k != nil {
			t.wake(k)
		}
	}
	t.tryWhole()
	t.open()
}

// Cancel ends a wait without a grant. One that is over stays as it is.
func (t *Table) Cancel(turn *Turn) {
	if turn.over {
		return
	}
	if i := slices.Index(t.gate, turn); i >= 0 {
		t.gate = slices.Delete(t.gate, i, i+1)
		turn.keys = nil // it is in no line
	}
	t.leave(turn)
	if turn.whole {
		if t.whole == turn {
			t.whole = nil
		}
		t.wholes = slices.DeleteFunc(t.wholes, func(other *Turn) bool { return other == turn })
		t.wakeAll()
	}
	for name := range turn.keys {
		if k := t.keys[name]; k != nil {
			t.wake(k)
		}
	}
	t.tryWhole()
}

// Lost notes that a run has lost because of these keys, of which it has written some.
func (t *Table) Lost(keys []string, wrote func(string) bool, now time.Time) {
	for _, name := range keys {
		k := t.key(name)
		k.hot = now.Add(heat)
		if wrote(name) {
			k.score = min(k.score+2, most)
		} else {
			k.score = max(k.score-1, -most)
		}
		t.touch(k)
	}
}

// Saw notes that a run which has ended has read a key, and whether it wrote it.
func (t *Table) Saw(name string, wrote bool) {
	k := t.keys[name]
	switch {
	case k == nil:
		return
	case wrote:
		k.score = min(k.score+1, most)
	default:
		k.score = max(k.score-1, -most)
	}
	t.touch(k)
}

// Tidy forgets what nobody contends for any more.
func (t *Table) Tidy(now time.Time) {
	for _, k := range t.keys {
		if !k.hot.IsZero() && now.After(k.hot) {
			k.hot = time.Time{}
			t.touch(k)
		}
	}
}

func (t *Table) next() uint64 {
	t.turns++
	return t.turns
}

func (t *Table) key(name string) *key {
	k := t.keys[name]
	if k == nil {
		k = &key{name: name, holders: map[*Run]Mode{}}
		t.keys[name] = k
	}
	return k
}

// mode is what a fresh run is taken to want the key for.
func (k *key) mode() Mode {
	if k.score > 0 {
		return Owning
	}
	return Reading
}

// touch tells the key's watchers what has changed, and forgets it when nothing is left.
func (t *Table) touch(k *key) {
	on := !k.hot.IsZero() && k.score > 0
	for _, mode := range k.holders {
		on = on || mode == Owning
	}
	for _, turn := range k.line {
		on = on || turn.keys[k.name] == Owning
	}
	if on != k.watched {
		k.watched = on
		t.Watch(k.name, on)
	}
	if k.hot.IsZero() && len(k.holders)+len(k.line) == 0 {
		delete(t.keys, k.name)
	}
}
