package gateway

import (
	"sync"

	"balhost/host/internal/entry"
)

// maxUndecided is how many bytes may be read and not committed. Spec: fcm-v1-and-gateway.md C5.
const maxUndecided = 64 << 20

// capacity is what a body that is read takes its bytes from.
type capacity interface {
	// take takes n bytes, unless there is no room. What it took, give gives back.
	take(n int) bool
	give(n int)
}

// budget counts the bytes that are in memory because they are not committed yet (P0).
type budget struct {
	mu    sync.Mutex // guards what follows
	held  int
	freed chan struct{} // closed when less is held; nil: nobody waits
	over  bool          // nobody waits any more
}

// take takes n bytes, unless that would be too much. What it took, give gives back.
func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held+n > maxUndecided {
		return false
	}
	b.held += n
	return true
}

// force takes n bytes that are in memory already.
func (b *budget) force(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held += n
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	b.wake()
}

func (b *budget) wake() {
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// wait returns when there is room. A socket that waits reads nothing, so its device has to
// wait too.
func (b *budget) wait() {
	for {
		b.mu.Lock()
		if b.held < maxUndecided || b.over {
			b.mu.Unlock()
			return
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		b.mu.Unlock()
		<-freed
	}
}

// end makes nobody wait any more.
func (b *budget) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	b.wake()
}

func (b *budget) bytes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// counted is an Inbox whose bytes are in the budget until the commit.
type counted struct {
	Inbox
	g *Gateway
}

// Accept implements [Inbox].
func (c counted) Accept(in entry.Inbound, done func(error)) {
	n, without := weigh(in), withoutCategory(in)
	c.g.budget.force(n)
	c.Inbox.Accept(in, func(err error) {
		c.g.budget.give(n)
		c.g.decided(err)
		if err == nil {
			c.g.without(without)
		}
		done(err)
	})
}

// withoutCategory is the from of an upstream that has no category; else "".
func withoutCategory(in entry.Inbound) string {
	if u := in.Upstream; u != nil && u.Category == "" && in.Unusable == "" {
		return u.From
	}
	return ""
}

// weigh is about how many bytes in has.
func weigh(in entry.Inbound) int {
	const rest = 256
	if u := in.Upstream; u != nil {
		return len(u.Raw) + rest
	}
	return len(in.Receipt.OriginalMessageID) + len(in.Receipt.Device) + rest
}
