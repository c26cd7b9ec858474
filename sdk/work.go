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

	mu      sync.Mutex         // guards what follows
	running map[*handling]bool // by itself: a host that breaks its word gives one number twice
	waiting []*handling
	closed  bool
	told    bool          // idle is closed
	idle    chan struct{} // closed when work is closed and nothing runs
}

func newWork(limit int, start func(*handling), release func(uint64)) *work {
	return &work{limit: limit, start: start, release: release, running: map[*handling]bool{}, idle: make(chan struct{})}
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
		w.running[h] = true
		w.mu.Unlock()
		w.start(h)
	}
}

// ended removes a handling whose result has been sent, and starts the next one.
func (w *work) ended(h *handling) {
	w.mu.Lock()
	delete(w.running, h)
	var next *handling
	if len(w.waiting) > 0 {
		next, w.waiting = w.waiting[0], w.waiting[1:]
		w.running[next] = true
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
	var revoked []*handling
	w.mu.Lock()
	for h := range w.running {
		if h.delivery.Delivery == delivery {
			revoked = append(revoked, h)
		}
	}
	for _, h := range w.waiting {
		if h.delivery.Delivery == delivery {
			revoked = append(revoked, h)
		}
	}
	w.mu.Unlock()
	for _, h := range revoked {
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
	for h := range w.running {
		f.Extend = append(f.Extend, h.delivery.Delivery)
	}
	return f
}
