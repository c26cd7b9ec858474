package turns

import "slices"

// line puts a turn into the lines of its keys.
func (t *Table) line(turn *Turn) {
	t.waiting++
	for name := range turn.keys {
		k := t.key(name)
		at := len(k.line)
		if turn.ahead {
			if at = slices.IndexFunc(k.line, func(other *Turn) bool { return !other.ahead }); at < 0 {
				at = len(k.line)
			}
		}
		k.line = slices.Insert(k.line, at, turn)
		t.touch(k)
	}
}

// leave ends a turn and takes it out of its lines.
func (t *Table) leave(turn *Turn) {
	turn.over = true
	t.waiting--
	for name := range turn.keys {
		k := t.keys[name]
		k.line = slices.DeleteFunc(k.line, func(other *Turn) bool { return other == turn })
	}
	if turn.get {
		t.gets--
		turn.run.waits = slices.DeleteFunc(turn.run.waits, func(other *Turn) bool { return other == turn })
	}
}

// hold gives a run a key.
func (t *Table) hold(r *Run, name string, mode Mode) {
	if r.holds == nil {
		r.holds = map[string]Mode{}
	}
	r.holds[name] = mode
	k := t.key(name)
	k.holders[r] = mode
	t.touch(k)
}

// try grants a turn if nothing blocks it.
func (t *Table) try(turn *Turn) bool {
	if turn.over || t.blocked(turn) {
		return false
	}
	t.leave(turn)
	for name, mode := range turn.keys {
		if turn.commit {
			t.landing[name]++
			t.touch(t.key(name))
		} else {
			t.hold(turn.run, name, mode)
		}
	}
	if turn.whole {
		turn.run.whole = true
	}
	t.ready = append(t.ready, turn)
	return true
}

func (t *Table) tryWhole() {
	if t.whole == nil && len(t.wholes) > 0 {
		t.whole, t.wholes = t.wholes[0], t.wholes[1:]
	}
	if t.whole != nil {
		t.try(t.whole)
	}
}

// wake grants the turns that can go on after a change of the key.
func (t *Table) wake(k *key) {
	var ahead [Owning + 1]bool // modes of the turns before, which still wait
	for _, turn := range slices.Clone(k.line) {
		mode := turn.keys[k.name]
		if ahead[Owning] || ahead[Reading] && ahead[Writing] {
			break // all turns that follow must wait
		}
		if !t.try(turn) && !turn.over {
			ahead[mode] = true
		}
	}
	t.touch(k)
}

func (t *Table) wakeAll() {
	for _, k := range t.keys {
		t.wake(k)
	}
}

// goesOn reports whether the turn's run has begun and may hold keys that others wait
// for.
func (turn *Turn) goesOn() bool { return turn.ahead || turn.get && len(turn.run.holds) > 0 }

// blocked reports whether a turn must wait.
func (t *Table) blocked(turn *Turn) bool {
	blocked := false
	t.blockers(turn, func(*Run, *Turn) bool { blocked = true; return false })
	if blocked || turn.commit {
		return blocked
	}
	if turn.whole {
		return len(t.landing) > 0
	}
	for name := range turn.keys {
		if t.landing[name] > 0 {
			return true
		}
	}
	return false
}

// blockers calls f for everything that a turn waits for: a run that holds one of its
// keys, or a turn before it in a line. It stops when f returns false. A commit on its
// way blocks too, but is left out here, because it waits for nothing.
func (t *Table) blockers(turn *Turn, f func(*Run, *Turn) bool) {
	if w := t.whole; w != nil && w != turn {
		if w.over {
			if w.run != turn.run && !f(w.run, nil) {
				return
			}
		} else if w.number < turn.number && !turn.goesOn() && !f(nil, w) {
			return
		}
	}
	if turn.whole {
		for _, k := range t.keys {
			for r := range k.holders {
				if !f(r, nil) {
					return
				}
			}
			for _, other := range k.line {
				if other.number < turn.number && !f(nil, other) {
					return
				}
			}
		}
		return
	}
	for name, mode := range turn.keys {
		k := t.keys[name]
		if k == nil {
			continue
		}
		for r, held := range k.holders {
			if r != turn.run && conflict(held, mode) && (r.claimed || !turn.ahead) && !f(r, nil) {
				return
			}
		}
		for _, other := range k.line {
			if other == turn || turn.ahead {
				break
			}
			if conflict(other.keys[name], mode) && (turn.run == nil || other.run != turn.run) && !f(nil, other) {
				return
			}
		}
	}
}

// circle reports whether a Get of r would wait, over other turns, for r itself.
func (t *Table) circle(get *Turn, r *Run) bool {
	seen := map[*Turn]bool{}
	var visit func(*Turn) bool
	visit = func(turn *Turn) (found bool) {
		if seen[turn] {
			return false
		}
		seen[turn] = true
		t.blockers(turn, func(holder *Run, before *Turn) bool {
			switch {
			case holder == r && turn.run != r:
				found = true
			case holder != nil:
				for _, wait := range holder.waits {
					found = found || visit(wait)
				}
			default:
				found = visit(before)
			}
			return !found
		})
		return found
	}
	return visit(get)
}
