package gateway

import (
	"sync"
	"time"

	"balhost/host/internal/frame"
)

// registry has the sockets, and of those that have said hello, the device of each. A
// device has one connection: a newer one ends the older.
type registry struct {
	mu      sync.Mutex         // guards what follows
	all     map[*device]bool   // false: it has not said hello
	named   map[string]*device // by from
	until   time.Time          // if not zero, all are to leave by then, and no more come
	running sync.WaitGroup     // one for each of all, and for its goroutines
}

// open notes d, whose handshake is done. It says no when all are to leave.
func (r *registry) open(d *device) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.until.IsZero() {
		return false
	}
	if r.all == nil {
		r.all, r.named = map[*device]bool{}, map[string]*device{}
	}
	r.all[d] = false
	r.running.Add(1)
	return true
}

// close forgets d, whose goroutines have ended.
func (r *registry) close(d *device) {
	r.mu.Lock()
	delete(r.all, d)
	r.mu.Unlock()
	r.running.Done()
}

// hurry is how long the older connection of a device may take for its last write.
const hurry = time.Second

// add makes d the connection of its device, and ends the older one. When it returns, that
// has no route any more, and what was in flight on it is given back.
func (r *registry) add(d *device) *ending {
	r.mu.Lock()
	older := r.named[d.from]
	r.all[d], r.named[d.from] = true, d
	if !r.until.IsZero() {
		d.leave(r.until)
	}
	r.mu.Unlock()
	if older == nil {
		return nil
	}
	older.end(because(frame.CloseReplaced, "the device has connected again"))
	older.socket.wire.hasten(time.Now().Add(hurry))
	<-older.gone
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ending // a still newer one may have come meanwhile
}

// remove forgets that d is its device's connection, unless a newer one is.
func (r *registry) remove(d *device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.named[d.from] == d {
		delete(r.named, d.from)
	}
}

// count is how many devices are connected.
func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.named)
}

func (r *registry) drains() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.until.IsZero()
}

// drain makes all leave within limit, and waits until they have. What is left then is cut.
func (r *registry) drain(limit time.Duration) {
	r.mu.Lock()
	r.until = time.Now().Add(limit)
	for d, hello := range r.all {
		if !hello {
			d.socket.wire.SetReadDeadline(time.Now()) // it is not waited for
		}
	}
	for _, d := range r.named {
		d.leave(r.until)
	}
	r.mu.Unlock()
	late := time.AfterFunc(limit, r.cut)
	defer late.Stop()
	r.running.Wait()
}

// cut ends all connections at once.
func (r *registry) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.all {
		d.socket.wire.Close()
	}
}
