// Package turns decides which handler may use which keys of a plugin's state next
// (P7). It prevents most runs that would be in vain: a run loses when another commit
// changes a key that it has read. Only the ledger decides whether a commit is valid,
// so a wrong decision here costs time only. The package is pure.
//
// The rules:
//
//   - A run that has lost claims all keys that it used, before it runs again. Claims
//     are granted in the order of asking. A run that waits for its claim holds no key.
//   - While a claimed run goes on, commits of others that write its keys wait. So it
//     does not lose a second time. It never waits itself, so it is part of no circle
//     of waits.
//   - A key is hot for a while after runs that read and wrote it have lost. At a hot
//     key a fresh run waits for its turn at its first Get, so that it does not lose.
//     Keys that are mostly read get no turns.
//   - A wait that would close a circle does not happen: the run goes on, and the
//     ledger decides. The keys of a circle are tangled. Only a limited number of fresh
//     runs may hold tangled keys at once, so that circles are rare. The others wait at
//     the gate and hold nothing.
//
// A key has an entry only while it is held, waited for, or hot. Start at [Table].
package turns

import (
	"slices"
	"time"
)

// Mode says what a run does with a key.
type Mode uint8

// The modes. Writing is for commits: commits that write one key don't wait for each
// other.
const (
	Reading Mode = iota + 1
	Writing
	Owning // reading it and then writing it
)

// conflict reports whether these modes exclude each other.
func conflict(a, b Mode) bool { return a != b || a == Owning }

const (
	heat = 10 * time.Second // how long a key stays hot after a run has lost or waited
	most = 4                // limit of key.score

	// The room inside the gate. A circle halves it, and each run that ends adds a
	// little.
	maxRoom, moreRoom = 64, 0.02
)

// Run is the keys of one run of a handler, or of one run of a Host.Update. The zero
// value holds none.
type Run struct {
	claimed bool // its keys were claimed before it began
	inside  bool // it has passed the gate
	whole   bool // it holds the whole state
	holds   map[string]Mode
	waits   []*Turn // its Gets that wait
}

// Turn is a wait for keys.
type Turn struct {
	Grant func() // what to do when the turn is granted; the caller of Ready calls it

	number uint64 // in the order of asking
	run    *Run   // nil: a commit of a run that holds nothing
	keys   map[string]Mode
	get    bool // a Get: its run may hold other keys while it waits
	commit bool
	ahead  bool // a commit of a run that holds keys: it waits only for claimed runs
	whole  bool // it wants the whole state
	over   bool // granted or cancelled
}

// Over reports whether the turn has been granted or cancelled.
func (t *Turn) Over() bool { return t.over }

// key is the entry of a key that is held, waited for or hot.
type key struct {
	name    string
	holders map[*Run]Mode
	line    []*Turn   // waiting turns: first those with ahead, then the others, in the order of asking
	hot     time.Time // until when; zero: not hot
	tangled bool
	score   int // above 0: most runs that read the key also write it
	watched bool
}

// Table has the turns for the state of one plugin. One goroutine uses it.
type Table struct {
	// Watch is told for which keys a run must call Get. Other keys need no call.
	Watch func(key string, on bool)
	// MaxGets is how many Gets may wait at once. Further Gets don't wait.
	MaxGets int

	keys    map[string]*key
	landing map[string]int // how many commits that write the key are on their way
	turns   uint64         // how many there were
	whole   *Turn          // the turn that wants, or has, the whole state
	wholes  []*Turn        // turns that want it next
	gets    int            // Gets that wait
	waiting int            // turns that wait, of all kinds
	ready   []*Turn        // granted since the last Ready

	gate   []*Turn // Gets that wait at the gate; their runs hold nothing, and they are in no line
	room   float64 // how many runs may be inside the gate
	inside int     // how many are
}

// New makes an empty table.
func New(watch func(key string, on bool)) *Table {
	return &Table{Watch: watch, keys: map[string]*key{}, landing: map[string]int{}, room: maxRoom}
}

// Ready returns the turns that were granted since the last call. The caller must call
// the Grant of each.
func (t *Table) Ready() []*Turn {
	ready := t.ready
	t.ready = nil
	return ready
}

// Waiting is how many turns wait.
func (t *Table) Waiting() int { return t.waiting }

// Get asks for a key that a run is about to read. nil: the run may read at once.
func (t *Table) Get(r *Run, name string, now time.Time, grant func()) *Turn {
	k := t.keys[name]
	if k == nil || !k.watched || r.holds[name] != 0 || r.whole {
		return nil
	}
	turn := &Turn{Grant: grant, number: t.next(), run: r, keys: map[string]Mode{name: k.mode()}, get: true}
	switch {
	case len(r.waits) > 0: // a run waits for one key at a time: circle checks no more than that
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

// enter notes that a run is inside the gate, if the key is tangled.
func (t *Table) enter(r *Run, k *key) {
	if k.tangled && !r.inside {
		r.inside = true
		t.inside++
	}
}

// tangle notes a circle: r holds keys, and wants another one.
func (t *Table) tangle(r *Run, wants *key) {
	t.room = max(1, min(t.room, float64(t.inside))/2)
	wants.tangled = true
	for name := range r.holds {
		t.keys[name].tangled = true
	}
}

// open moves turns from the gate to their lines, as far as there is room.
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
	if len(keys) == 0 { // there is no line to wait in
		turn.over = true
		t.ready = append(t.ready, turn)
		return turn
	}
	t.line(turn)
	t.try(turn)
	return turn
}

// ClaimAll asks for the whole state, for a run whose keys are not known before.
func (t *Table) ClaimAll(r *Run, grant func()) *Turn {
	r.claimed = true
	turn := &Turn{Grant: grant, number: t.next(), run: r, whole: true}
	t.waiting++
	t.wholes = append(t.wholes, turn)
	t.tryWhole()
	return turn
}

// Commit asks whether a run may commit its writes. r is nil if the run holds nothing.
// nil: it may commit now. Otherwise it may commit when the turn is granted. In both
// cases the caller must call Landed after the commit.
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

// Land notes that a commit of these keys is on its way. Commit does this itself.
func (t *Table) Land(writes []string) {
	for _, name := range writes {
		t.landing[name]++
	}
}

// Landed notes that such a commit has ended, with success or not.
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

// End frees the keys that a run holds, and ends its waits.
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

// Cancel ends a wait without a grant. It does nothing if the turn is over.
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

// Lost notes that a run has lost because of these keys. wrote says which of them the
// run has written.
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

// Saw notes that a run has ended which has read a key, and whether it wrote the key.
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

// Tidy ends the heat of keys whose time is over.
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

// mode is what a fresh run will most likely do with the key.
func (k *key) mode() Mode {
	if k.score > 0 {
		return Owning
	}
	return Reading
}

// touch calls Watch if that has changed, and deletes the key's entry if it is not
// needed any more.
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
