package sdk

import (
	"sync"

	"balhost/sdk/wire"
)

// work is all deliveries that the plugin holds. At most limit handlers run; more
// deliveries wait in order. The host never sends more than limit, but work does not
// rely on it.
type work struct {
	limit   int
	start   func(*handling)       // runs one handler on a goroutine of its own
	release func(delivery uint64) // gives back a delivery that was not started

	mu      sync.Mutex // guards what follows
	running map[uint64]*handling
	waiting []*handling
	closed  bool
	told    bool          // idle is closed
	idle    chan struct{} // closed when work is closed and nothing runs
}

func newWork(limit int, start func(*handling), release func(uint64)) *work {
	return &work{limit: limit, start: start, release: release, running: map[uint64]*handling{}, idle: make(chan struct{})}
}

func (w *work) add(h *handling) {
	w.mu.Lock()
	switch {
	case w.closed:
		w.mu.Unlock()
		w.release(h.delivery.Delivery)
	case len(w.running) >= w.limit:
		w.waiting = append(w.waiting, h)
		w.mu.Unlock()
	default:
		w.running[h.delivery.Delivery] = h
		w.mu.Unlock()
		w.start(h)
	}
}

// ended removes a handling whose result has been sent, and starts the next one.
func (w *work) ended(h *handling) {
	w.mu.Lock()
	delete(w.running, h.delivery.Delivery)
	var next *handling
	if len(w.waiting) > 0 {
		next, w.waiting = w.waiting[0], w.waiting[1:]
		w.running[next.delivery.Delivery] = next
	}
	w.tellIdle()
	w.mu.Unlock()
	if next != nil {
		w.start(next)
	}
}

// close starts no more handlers, and gives back what waits.
func (w *work) close() {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	w.closed = true
	waiting := w.waiting
	w.waiting = nil
	w.tellIdle()
	w.mu.Unlock()
	for _, h := range waiting {
		w.release(h.delivery.Delivery)
	}
}

// tellIdle is called with mu held, after each change.
func (w *work) tellIdle() {
	if w.closed && len(w.running) == 0 && !w.told {
		w.told = true
		close(w.idle)
	}
}

// revoke ends the context of a delivery's handler. A delivery that is not known has
// ended already.
func (w *work) revoke(delivery uint64) {
	w.mu.Lock()
	h := w.running[delivery]
	for i := 0; h == nil && i < len(w.waiting); i++ {
		if w.waiting[i].delivery.Delivery == delivery {
			h = w.waiting[i]
		}
	}
	w.mu.Unlock()
	if h != nil {
		h.end(errRevoked)
	}
}

// extension lists the deliveries whose handlers run; nil if there are none.
func (w *work) extension() *wire.PluginFrame {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.running) == 0 {
		return nil
	}
	f := &wire.PluginFrame{}
	for id := range w.running {
		f.Extend = append(f.Extend, id)
	}
	return f
}
