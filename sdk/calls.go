package sdk

import (
	"context"
	"fmt"
	"sync"

	"balhost/sdk/wire"
)

// calls are the plugin's questions to the host that have no answer yet.
type calls struct {
	send func(*wire.PluginFrame)

	mu      sync.Mutex // guards what follows
	last    uint64
	updates uint64 // Host.Updates so far
	open    map[uint64]chan<- *wire.Reply
	ended   bool
}

// call asks the host and waits for the answer, whose error it returns as one.
func (c *calls) call(ctx context.Context, q *wire.Call) (*wire.Reply, error) {
	answer := make(chan *wire.Reply, 1)
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: the session with the host has ended", ErrUnavailable)
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

// number is one for all runs of a Host.Update.
func (c *calls) number() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updates++
	return c.updates
}

// answer hands a reply to whoever waits for it; it may have gone.
func (c *calls) answer(r *wire.Reply) {
	c.mu.Lock()
	waiting := c.open[r.GetId()]
	delete(c.open, r.GetId())
	c.mu.Unlock()
	if waiting != nil {
		waiting <- r
	}
}

// end fails all calls that wait, and all later ones.
func (c *calls) end() {
	c.mu.Lock()
	c.ended = true
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for id, waiting := range open {
		waiting <- wire.NewReply(id, fmt.Errorf("%w: the session with the host has ended", ErrUnavailable))
	}
}
