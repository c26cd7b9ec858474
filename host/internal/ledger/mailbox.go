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

// lines are letters in two lines, each in the order of the calls: updates are
// what plugins may send any amount of, first is all else, the acks and ends
// that others wait for.
type lines struct{ first, updates []letter }

// mailbox is how callers reach the committer. It never blocks them: what is
// in it is bounded by them, by CCS's window and the plugins' credit.
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
	if _, is := l.op.(*update); is {
		m.waiting.updates = append(m.waiting.updates, l)
	} else {
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

// take adds what waits to the committer's own lines; it waits itself when all
// are empty. It reports whether there is anything: not once the box is closed
// and empty.
func (m *mailbox) take(own *lines) bool {
	for {
		m.mu.Lock()
		own.first, m.waiting.first = join(own.first, m.waiting.first)
		own.updates, m.waiting.updates = join(own.updates, m.waiting.updates)
		some := len(own.first)+len(own.updates) > 0
		m.gone = m.closing && !some
		gone := m.gone
		m.mu.Unlock()
		if some || gone {
			return some
		}
		<-m.hint
	}
}

// linger is how long ends alone wait for a message, whose commit they share then.
// It is short beside a commit under load and long beside the time between two messages.
const linger = 2 * time.Millisecond

// lingerFor waits until something has come that others wait for, but no longer than
// linger, when all that is there are ends and a message came a short time ago: nobody waits
// for an end but the next message of its own lane. What a crash takes with them comes again, as
// it may.
func (m *mailbox) lingerFor(own *lines) {
	if len(own.updates) > 0 || !ends(own.first) {
		return
	}
	limit := time.NewTimer(linger)
	defer limit.Stop()
	for {
		m.mu.Lock()
		urgent := m.closing || len(m.waiting.updates) > 0 || !ends(m.waiting.first) || len(own.first)+len(m.waiting.first) >= batchLetters
		m.mu.Unlock()
		if urgent {
			m.wake() // take looks again
			return
		}
		select {
		case <-m.hint:
		case <-limit.C:
			return
		}
	}
}

// ends is whether letters are nothing but ends of events and downstreams.
func ends(letters []letter) bool {
	for _, l := range letters {
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

// join appends more to line; rest is for what comes next.
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

// close makes take return none once the box is empty.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing = true
	m.wake()
}

// call is a callback with what it is told.
type call struct {
	done func(error)
	err  error
}

// callbacks calls what is to be called back, one after the other in the order
// of the commits, apart from the committer: a slow callback delays other
// callbacks, never a commit. Its goroutine lives while there is something to call.
type callbacks struct {
	veto func(error) error // may turn a success into an error at the last moment

	mu      sync.Mutex
	waiting []call
	running bool
	idle    sync.Cond
}

func newCallbacks(veto func(error) error) *callbacks {
	c := &callbacks{veto: veto}
	c.idle.L = &c.mu
	return c
}

func (c *callbacks) push(calls ...call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, calls...)
	if !c.running && len(c.waiting) > 0 {
		c.running = true
		go c.run() //house:go ends when nothing is left to call; wait waits for it
	}
}

func (c *callbacks) run() {
	var calls []call
	for {
		c.mu.Lock()
		c.waiting, calls = calls[:0], c.waiting
		if len(calls) == 0 {
			c.running = false
			c.idle.Broadcast()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for i, call := range calls {
			calls[i].done = nil
			if call.done != nil {
				call.done(c.veto(call.err))
			}
		}
	}
}

// wait returns when nothing is left to call.
func (c *callbacks) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running {
		c.idle.Wait()
	}
}
