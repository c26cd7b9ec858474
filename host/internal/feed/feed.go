// Package feed is how engines tell what happens to messages, and how people watch it. An
// engine asks [Hub.On], and tells a [Step] if somebody reads. So nobody pays for a feed
// without readers: On is one atomic load. A reader that is slow loses steps, and is told
// how many; an engine never waits for one. Nothing here is kept, and nothing is decided by
// it. The package starts no goroutine. Start at [Hub.Tell].
package feed

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of readers.
const (
	MaxReaders = 16
	maxSteps   = 4096    // that a reader has not read
	maxBytes   = 1 << 20 // of these
)

// ErrReaders means that as many read as are allowed.
var ErrReaders = fmt.Errorf("%d read the live tail already, which is the limit: end one of them first", MaxReaders)

// Hub passes steps to those who read. Its methods may be called from any goroutine. A
// nil Hub has no readers.
type Hub struct {
	on atomic.Bool // there are readers

	mu      sync.RWMutex // guards what follows
	readers []*Reader
	bodies  bool // one of them wants bodies
}

// On reports whether anybody reads. Who asks it first saves making a step.
func (h *Hub) On() bool { return h != nil && h.on.Load() }

// Tell gives a step to those who want it. It never waits for them. A step without a time
// is of now. The steps of one message come in the order in which they are told.
func (h *Hub) Tell(s Step) {
	if !h.On() {
		return
	}
	if s.At.IsZero() {
		s.At = time.Now()
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	var kept *Step
	for _, r := range h.readers {
		if !r.filter.wants(&s) {
			continue
		}
		if kept == nil {
			kept = s.kept(h.bodies)
		}
		r.put(kept)
	}
}

// Read begins to read. The caller closes the reader. The error is ErrReaders.
func (h *Hub) Read(f Filter) (*Reader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= MaxReaders {
		return nil, ErrReaders
	}
	r := &Reader{hub: h, filter: f, hint: make(chan struct{}, 1)}
	h.readers = append(h.readers, r)
	h.follow()
	return r, nil
}

// follow takes over what the readers want. The caller holds mu.
func (h *Hub) follow() {
	h.bodies = slices.ContainsFunc(h.readers, func(r *Reader) bool { return r.filter.Bodies })
	h.on.Store(len(h.readers) > 0)
}

// Reader is one who reads.
type Reader struct {
	hub    *Hub
	filter Filter
	hint   chan struct{} // capacity 1: there is something

	mu      sync.Mutex // guards what follows
	steps   []*Step
	bytes   int    // of steps
	skipped uint64 // steps that found no room since the last Take; they came after all in steps
}

// put adds a step, or counts that it found no room.
func (r *Reader) put(s *Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := s.size()
	if r.skipped > 0 || len(r.steps) >= maxSteps || r.bytes+size > maxBytes {
		r.skipped++ // also if it would fit: those that were skipped come one after the other
		return
	}
	r.steps, r.bytes = append(r.steps, s), r.bytes+size
	select {
	case r.hint <- struct{}{}:
	default:
	}
}

// Ready receives when Take may find something.
func (r *Reader) Ready() <-chan struct{} { return r.hint }

// Take returns what has come since the last time. The steps belong to the caller. Behind
// them, so many were skipped, because there was no room for more.
func (r *Reader) Take() (steps []Step, skipped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	steps = make([]Step, len(r.steps))
	for i, s := range r.steps {
		steps[i] = *s
		if !r.filter.Bodies {
			steps[i].Body, steps[i].BodyBytes = "", 0
		}
	}
	skipped = r.skipped
	clear(r.steps)
	r.steps, r.bytes, r.skipped = r.steps[:0], 0, 0
	return steps, skipped
}

// Close ends the reading.
func (r *Reader) Close() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.hub.readers = slices.DeleteFunc(r.hub.readers, func(other *Reader) bool { return other == r })
	r.hub.follow()
}
