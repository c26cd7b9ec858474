package outbox

// line is what waits for one sender, in the order in which it could go for the first time:
// when it was stored, or at its NotBefore. So its first has waited longest.
//
// Weak: after a restart, one whose NotBefore has passed is in line as if it had none.
type line struct{ first, last *item }

// has reports whether an item is in line.
func (l *line) has(it *item) bool { return it.before != nil || l.first == it }

// add puts an item at the end, unless it is in line.
func (l *line) add(it *item) {
	if l.has(it) {
		return
	}
	it.before = l.last
	if l.last == nil {
		l.first = it
	} else {
		l.last.after = it
	}
	l.last = it
}

// remove takes an item out, if it is in line.
func (l *line) remove(it *item) {
	if !l.has(it) {
		return
	}
	if it.before == nil {
		l.first = it.after
	} else {
		it.before.after = it.after
	}
	if it.after == nil {
		l.last = it.before
	} else {
		it.after.before = it.before
	}
	it.before, it.after = nil, nil
}
