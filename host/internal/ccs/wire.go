package ccs

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// wire is a network connection with a deadline for each read and write.
type wire struct {
	net.Conn
	limit time.Duration // for one read or write
	until time.Time     // of the login: the deadline of all reads and writes together

	mu   sync.Mutex // guards last, and the write deadline that is set by it
	last time.Time  // if not zero, every write ends by then

	unfinished func() uint64 // says which element is being read; 0: none. nil during the login
	element    uint64        // its last answer
	look       time.Time     // when a read of that element is interrupted
	silent     time.Time     // if not zero, a read of that element ends by then
	hush       time.Time     // if not zero, every read ends by then: CCS may have said its last word
}

// hasten makes every write end by t, one that is under way too.
func (w *wire) hasten(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = t
	w.Conn.SetWriteDeadline(t)
}

// Read waits as long as a live peer may be silent. It is pinged meanwhile, so longer
// silence means a dead link (ccs-protocol.md §1.3). Any byte counts, whitespace too.
func (w *wire) Read(p []byte) (int, error) {
	limit := w.deadline()
	if !w.hush.IsZero() && w.hush.Before(limit) {
		limit = w.hush
	}
	until, err := w.patience(limit)
	if err == nil {
		err = w.Conn.SetReadDeadline(until)
	}
	if err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.silent = time.Time{}
	} else if errors.Is(err, os.ErrDeadlineExceeded) && until.Before(limit) && !until.Equal(w.silent) {
		if w.silent.IsZero() {
			w.silent = limit
		}
		return 0, errUnfinished
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	t := w.deadline()
	if !w.last.IsZero() && w.last.Before(t) {
		t = w.last
	}
	err := w.Conn.SetWriteDeadline(t)
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

func (w *wire) deadline() time.Time {
	if !w.until.IsZero() {
		return w.until
	}
	return time.Now().Add(w.limit)
}

// unfinishedFor is how long an element may take from its first byte. One that takes
// longer is slow, or broken in a way that hides its end.
const unfinishedFor = 2 * time.Second

// errUnfinished: the element that is being read takes longer than unfinishedFor.
var errUnfinished = errors.New("a stanza does not come to its end")

// patience is until when a read may wait. limit counts from the last byte, however
// often reads are interrupted since.
func (w *wire) patience(limit time.Time) (time.Time, error) {
	if w.unfinished == nil {
		return limit, nil
	}
	if !w.silent.IsZero() {
		limit = w.silent
	}
	now := time.Now()
	if element := w.unfinished(); element != w.element || element == 0 {
		w.element, w.look = element, now.Add(unfinishedFor)
	}
	switch {
	case w.element == 0 || limit.Before(w.look):
		return limit, nil
	case now.Before(w.look):
		return w.look, nil
	}
	w.look = now.Add(unfinishedFor)
	return limit, errUnfinished
}
