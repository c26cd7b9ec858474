package ledger

import "sync"

// call is a callback with what it is told.
type call struct {
	done func(error)
	err  error
}

// callbacks calls the callers back, one after the other, in the order of the commits.
// It does so on a goroutine of its own, which lives while there is something to call:
// callbacks run while the next commit is being synced, and a slow one delays other
// callbacks, never a commit.
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
