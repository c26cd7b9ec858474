package ledger

import (
	"sync"
	"time"

	"balhost/host/internal/entry"
)

// op is one thing to commit. apply first checks, then writes: when it returns
// an error it has written nothing, so that the batch's other operations are
// not touched by it.
type op interface {
	// weigh returns an upper bound of what apply writes; the committer calls it.
	weigh() (bytes, records int)
	apply(b *batch) error
}

// letter is an operation on its way to the committer.
type letter struct {
	op   op
	done func(error) // may be nil
	late bool        // came after Close: only answered
}

// lines are letters in three lines, each in the order of the calls. Ends go before messages:
// there are no more of them than plugins and windows hold, and each keeps its place there
// while it waits. Of messages devices can send thousands at once. Of updates plugins may
// send any number.
type lines struct{ ends, first, updates []letter }

func (w *lines) len() int { return len(w.ends) + len(w.first) + len(w.updates) }

// light reports whether all that waits are ends that no message waits for.
func (w *lines) light() bool { return len(w.first)+len(w.updates) == 0 && light(w.ends) }

// mailbox is how callers reach the committer. It never blocks them. CCS's window, what a
// gateway may hold undecided, and the plugins' credit bound what is in it.
type mailbox struct {
	mu      sync.Mutex
	waiting lines
	closing bool
	gone    bool          // the committer has ended
	hint    chan struct{} // capacity 1: "look again"
}

func newMailbox() *mailbox { return &mailbox{hint: make(chan struct{}, 1)} }

// put reports whether the committer will answer.
func (m *mailbox) put(l letter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return false
	}
	l.late = m.closing
	switch l.op.(type) {
	case *settle, *finish, *postpone:
		m.waiting.ends = append(m.waiting.ends, l)
	case *update, *cancel:
		m.waiting.updates = append(m.waiting.updates, l)
	default:
		m.waiting.first = append(m.waiting.first, l)
	}
	m.wake()
	return true
}

func (m *mailbox) wake() {
	select {
	case m.hint <- struct{}{}:
	default:
	}
}

// drain moves what waits to the committer's own lines. When all are empty it waits
// for something. False: the box is closed and empty.
func (m *mailbox) drain(own *lines) bool {
	for {
		m.mu.Lock()
		own.ends, m.waiting.ends = join(own.ends, m.waiting.ends)
		own.first, m.waiting.first = join(own.first, m.waiting.first)
		own.updates, m.waiting.updates = join(own.updates, m.waiting.updates)
		some := own.len() > 0
		m.gone = m.closing && !some
		gone := m.gone
		m.mu.Unlock()
		if some || gone {
			return some
		}
		<-m.hint
	}
}

// linger is how long a batch of nothing but ends waits for a message, to share its
// commit. It is short beside a commit under load, and long beside the time between
// two messages.
const linger = 2 * time.Millisecond

// lingerFor waits while there are nothing but ends, until something else comes, and no
// longer than linger. run calls it when a message came a short time ago. For an end
// only the next message of its own lane waits. After a crash, what had not been
// committed comes again.
func (m *mailbox) lingerFor(own *lines) {
	if !own.light() {
		return
	}
	limit := time.NewTimer(linger)
	defer limit.Stop()
	for {
		m.mu.Lock()
		urgent := m.closing || !m.waiting.light() || len(own.ends)+len(m.waiting.ends) >= batchLetters
		m.mu.Unlock()
		if urgent {
			m.wake() // drain looks again
			return
		}
		select {
		case <-m.hint:
		case <-limit.C:
			return
		}
	}
}

// light reports whether these ends send nothing and try nothing again.
func light(ends []letter) bool {
	for _, l := range ends {
		switch o := l.op.(type) {
		case *settle:
			if o.Verdict != entry.Done || len(o.Changes.Sends) > 0 {
				return false
			}
		case *finish:
		default:
			return false
		}
	}
	return true
}

// join appends more to line. rest is the memory that the mailbox uses next.
func join(line, more []letter) (all, rest []letter) {
	if len(line) == 0 {
		return more, line
	}
	all = append(line, more...)
	clear(more)
	return all, more[:0]
}

// pop takes the first letter out.
func pop(line *[]letter) letter {
	l := (*line)[0]
	(*line)[0] = letter{} // lets go of what it points to
	*line = (*line)[1:]
	return l
}

// close makes drain return false once the box is empty.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing = true
	m.wake()
}
