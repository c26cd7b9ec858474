package sdk

import (
	"context"
	"fmt"
	"sync"

	"balhost/sdk/wire"
)

var errDisconnected = fmt.Errorf("%w: the connection to the host has ended", ErrUnavailable)

// calls are the plugin's calls to the host that have no reply yet.
type calls struct {
	send func(*wire.PluginFrame)

	mu      sync.Mutex // guards what follows
	last    uint64
	updates uint64 // how many Host.Updates there were
	open    map[uint64]chan<- *wire.Reply
	ended   bool
}

// call asks the host and waits for the reply. An error in the reply is returned as
// the error. If ctx has ended, nothing is asked.
func (c *calls) call(ctx context.Context, q *wire.Call) (*wire.Reply, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	answer := make(chan *wire.Reply, 1)
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil, errDisconnected
	}
	c.last++
	q.Id = c.last
	c.open[q.Id] = answer
	c.mu.Unlock()
	c.send(&wire.PluginFrame{Call: []*wire.Call{q}})
	select {
	case r := <-answer:
		return r, r.Err()
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.open, q.Id)
		c.mu.Unlock()
		c.send(&wire.PluginFrame{Abandon: []uint64{q.Id}})
		return nil, context.Cause(ctx)
	}
}

// number makes the number of a Host.Update, which is the same in all of its runs.
func (c *calls) number() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updates++
	return c.updates
}

// answer gives a reply to the call that waits for it, unless that has given up.
func (c *calls) answer(r *wire.Reply) {
	c.mu.Lock()
	waiting := c.open[r.GetId()]
	delete(c.open, r.GetId())
	c.mu.Unlock()
	if waiting != nil {
		waiting <- r
	}
}

// end fails all calls that wait, and all later calls.
func (c *calls) end() {
	c.mu.Lock()
	c.ended = true
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for id, waiting := range open {
		waiting <- wire.NewReply(id, errDisconnected)
	}
}
