package pluginhost

import "sync"

// mailbox holds what has happened until its owner drains it. put never blocks.
type mailbox struct {
	hint chan struct{} // something came since the last drain

	mu       sync.Mutex // guards happened
	happened []func()
}

func (b *mailbox) put(f func()) {
	b.mu.Lock()
	b.happened = append(b.happened, f)
	b.mu.Unlock()
	select {
	case b.hint <- struct{}{}:
	default:
	}
}

func (b *mailbox) drain() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.happened
	b.happened = nil
	return all
}

func (b *mailbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.happened) == 0
}
