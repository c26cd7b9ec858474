package dispatch

import "sync"

// mailbox carries to Run what happened. It has no limit of its own: the
// deliveries that plugins hold bound what can be in it.
type mailbox struct {
	mu     *sync.Mutex // guards items and shut
	items  []func(*Dispatcher)
	shut   bool
	hint   chan struct{} // "look again"
	closed chan struct{}
}

func newMailbox() mailbox {
	return mailbox{mu: new(sync.Mutex), hint: make(chan struct{}, 1), closed: make(chan struct{})}
}

// put leaves f for Run; after close it does nothing, and says so.
func (b *mailbox) put(f func(*Dispatcher)) bool {
	b.mu.Lock()
	taken := !b.shut
	if taken {
		b.items = append(b.items, f)
	}
	b.mu.Unlock()
	select {
	case b.hint <- struct{}{}:
	default:
	}
	return taken
}

// drain empties the mailbox. used is what it returned before: its memory is used next.
func (b *mailbox) drain(used []func(*Dispatcher)) (items []func(*Dispatcher)) {
	clear(used)
	b.mu.Lock()
	defer b.mu.Unlock()
	items, b.items = b.items, used[:0]
	return items
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shut {
		b.shut = true
		b.items = nil
		close(b.closed)
	}
}
