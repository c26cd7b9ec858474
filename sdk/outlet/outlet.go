// Package outlet writes a log to a file that may block or fail, such as a pipe that
// nobody reads. Who logs does not wait for the reader: lines go into a bounded buffer,
// and one goroutine writes them. Lines that don't fit are dropped and counted. When
// the file takes lines again, one line says how many are missing at that place. It
// keeps P10 for the host's log and for a plugin's log. Start at [Writer.Write].
package outlet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// size is how many bytes the buffer holds. As many may be in the write that goes on.
const size = 1 << 20

// piece is how many bytes one write has at most. So Stats.Writing shows whether the
// reader is only slow, or reads nothing.
const piece = 64 << 10

// busy is the wait before the next try when the file returns EAGAIN. This happens
// when another process that shares the file has made it non-blocking.
const busy = 10 * time.Millisecond

// Writer takes lines for a file. Its methods may be called from any goroutine.
type Writer struct {
	out      io.Writer
	patience time.Duration
	more     chan struct{} // hint to run, capacity 1

	mu      sync.Mutex // guards what follows; not held during a write
	pending []byte
	spare   []byte        // an unused buffer, the next one for pending
	gap     uint64        // lines dropped after pending
	written chan struct{} // closed when pending has been written or has failed; nil: pending is empty
	writes  chan struct{} // the same for the batch that is being written
	late    bool          // a Write has waited for patience in vain; no Write waits until nothing is pending
	closed  bool
	notice  func(n uint64) []byte
	stats   Stats

	// What follows is owned by run.
	lost uint64 // missing lines of which no line in the file tells yet
	torn bool   // the last line in the file has no end
}

// Stats are counts of lines, and what the Writer does now.
type Stats struct {
	Dropped uint64    // lines dropped because the buffer was full or closed
	Failed  uint64    // lines that the file refused
	Err     error     // the last error of the file
	Writing time.Time // when the current write began; zero: none goes on
}

// New makes a Writer to out and starts its goroutine. Close ends it.
func New(out io.Writer) *Writer { return NewPatient(out, 0) }

// NewPatient makes a Writer whose Write waits until the line is written, for patience
// at most. So the line is not lost when the process exits right after. When a Write
// has waited in vain, no Write waits until the file has taken everything.
func NewPatient(out io.Writer, patience time.Duration) *Writer {
	w := &Writer{out: out, patience: patience, more: make(chan struct{}, 1), notice: plain}
	go w.run() //house:go ends after Close; a write that hangs ends with the process
	return w
}

func plain(n uint64) []byte { return fmt.Appendf(nil, "%d lines dropped\n", n) }

// Notice sets the function that makes the line which tells of n missing lines.
func (w *Writer) Notice(line func(n uint64) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notice = line
}

// Write takes whole lines. It never fails. It does not wait, unless the Writer is
// from NewPatient.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.closed || w.gap > 0 || len(w.pending) > 0 && len(w.pending)+len(p) > size {
		n := lines(p)
		w.stats.Dropped += n
		if !w.closed {
			w.gap += n // later lines are dropped too, until run has taken pending
		}
		w.mu.Unlock()
		return len(p), nil
	}
	w.pending = append(w.pending, p...)
	if w.written == nil {
		w.written = make(chan struct{})
	}
	written, wait := w.written, w.patience > 0 && !w.late
	w.mu.Unlock()
	w.hint()
	if wait {
		w.await(written)
	}
	return len(p), nil
}

// await waits until a batch has been written, for patience at most.
func (w *Writer) await(written <-chan struct{}) {
	limit := time.NewTimer(w.patience)
	defer limit.Stop()
	select {
	case <-written:
	case <-limit.C:
		w.mu.Lock()
		w.late = true
		w.mu.Unlock()
	}
}

// Stats returns the counts so far.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Close waits until all lines have been written or have failed. It returns false if
// that takes longer than limit. Later lines are dropped.
func (w *Writer) Close(limit time.Duration) (all bool) {
	late := time.NewTimer(limit)
	defer late.Stop()
	defer w.hint()
	for {
		w.mu.Lock()
		wait := w.written
		if wait == nil {
			wait = w.writes
		}
		w.closed = w.closed || wait == nil
		w.mu.Unlock()
		if wait == nil {
			return true
		}
		select {
		case <-wait:
		case <-late.C:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.closed = true
			return false
		}
	}
}

func (w *Writer) hint() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// batch is what run takes from pending at once.
type batch struct {
	text   []byte
	gap    uint64 // lines dropped after text
	notice func(n uint64) []byte
}

// run writes one batch after the other.
func (w *Writer) run() {
	for {
		b, over := w.next()
		if over {
			return
		}
		if w.lost > 0 {
			w.tell(b)
		}
		failed := w.put(b.text)
		w.lost += failed + b.gap
		if b.gap > 0 {
			w.tell(b)
		}
		w.done(b, failed)
	}
}

// next waits for the next batch. over: the Writer is closed, and there is none.
func (w *Writer) next() (b batch, over bool) {
	for {
		w.mu.Lock()
		if len(w.pending) > 0 {
			b = batch{w.pending, w.gap, w.notice}
			w.pending, w.spare, w.gap = w.spare, nil, 0
			w.writes, w.written = w.written, nil
			w.mu.Unlock()
			return b, false
		}
		over = w.closed
		w.mu.Unlock()
		if over {
			return b, true
		}
		<-w.more
	}
}

// done wakes the callers that wait for a batch.
func (w *Writer) done(b batch, failed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Failed += failed
	close(w.writes)
	w.writes, w.spare = nil, b.text[:0]
	w.late = w.late && w.written != nil
}

// tell writes a line which says how many lines are missing here.
func (w *Writer) tell(b batch) {
	if w.put(b.notice(w.lost)) == 0 {
		w.lost = 0
	}
}

// put writes text, and returns how many of its lines are missing in the file.
func (w *Writer) put(text []byte) (missing uint64) {
	if w.torn {
		if _, err := w.some([]byte("\n")); err != nil {
			return w.failed(text, err)
		}
	}
	for len(text) > 0 {
		n, err := w.some(text[:min(len(text), piece)])
		text = text[n:]
		if err != nil {
			return w.failed(text, err)
		}
	}
	return 0
}

// some writes a part of p. It waits while the file returns EAGAIN.
func (w *Writer) some(p []byte) (n int, err error) {
	w.writing(time.Now())
	defer w.writing(time.Time{})
	for {
		n, err = w.out.Write(p)
		if n > 0 {
			w.torn = p[n-1] != '\n'
		}
		switch {
		case errors.Is(err, syscall.EAGAIN) && n > 0:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			time.Sleep(busy)
		case err == nil && n == 0:
			return 0, io.ErrShortWrite
		case errors.Is(err, io.ErrShortWrite) && n > 0:
			return n, nil
		default:
			return n, err
		}
	}
}

func (w *Writer) writing(since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Writing = since
}

func (w *Writer) failed(text []byte, err error) (missing uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Err = err
	return lines(text)
}

// lines counts the lines of p. A last line without an end counts too.
func lines(p []byte) uint64 {
	n := uint64(bytes.Count(p, []byte("\n")))
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return n
}
