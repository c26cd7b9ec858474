package gateway

import "sync"

// turns has the devices that have a request without an answer.
type turns struct {
	mu   sync.Mutex // guards busy
	busy map[string]struct{}
}

// take reports whether it is the device's turn; give ends it.
func (t *turns) take(from string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, busy := t.busy[from]; busy {
		return false
	}
	if t.busy == nil {
		t.busy = map[string]struct{}{}
	}
	t.busy[from] = struct{}{}
	return true
}

func (t *turns) give(from string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.busy, from)
}
