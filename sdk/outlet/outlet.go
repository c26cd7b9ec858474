// Package outlet writes a log to a file that may stall or break, such as a pipe
// that nobody reads, so that nothing waits for a line: it is a bounded buffer
// with one goroutine that writes. What doesn't fit is dropped, counted, and told
// by a line of its own when there is somebody who reads again. It keeps P10 for
// the host's log and, in the sdk, for a plugin's. Start at [Writer.Write].
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

// size is what the buffer holds, in bytes; as much again may be on its way.
const size = 1 << 20

// piece is what goes out at once, so that Stats.Writing tells a slow reader from
// one that is gone.
const piece = 64 << 10

// busy is the wait before another try at a file that takes nothing now: somebody
// who shares it has made it non-blocking.
const busy = 10 * time.Millisecond

// Writer takes lines for a file. Its methods may be called from any goroutine.
type Writer struct {
	out      io.Writer
	patience time.Duration
	more     chan struct{} // hint to run, capacity 1

	mu      sync.Mutex // guards what follows; nothing is written with it held
	pending []byte
	spare   []byte        // a buffer for pending that is not in use
	gap     uint64        // lines dropped behind pending
	written chan struct{} // closed when pending is done with; nil: it is empty
	under   chan struct{} // the same of what is being written
	late    bool          // a Write has waited in vain: none does until all is done with
	closed  bool
	notice  func(n uint64) []byte
	stats   Stats

	// What follows is owned by run.
	lost uint64 // lines that did not get out, and of which nothing was told
	torn bool   // the last line broke off
}

// Stats are what became of the lines.
type Stats struct {
	Dropped uint64    // lines: nobody read what was before them
	Failed  uint64    // lines that the file didn't take
	Err     error     // the last reason for that
	Writing time.Time // since when one write has been going on; zero: none does
}

// New makes a Writer to out and starts its goroutine, which Close ends.
func New(out io.Writer) *Writer { return NewPatient(out, 0) }

// NewPatient makes one whose Write returns when the line is written, so that it
// outlives a process that exits right after; but that waits for patience at most,
// and once in vain, not again until the file has taken everything.
func NewPatient(out io.Writer, patience time.Duration) *Writer {
	w := &Writer{out: out, patience: patience, more: make(chan struct{}, 1), notice: plain}
	go w.run() //house:go ends after Close, but for a write that hangs, which ends with the process
	return w
}

func plain(n uint64) []byte { return fmt.Appendf(nil, "%d lines dropped\n", n) }

// Notice has dropped lines told by what line makes of their number.
func (w *Writer) Notice(line func(n uint64) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notice = line
}

// Write takes whole lines. It never fails, and waits for no reader.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.closed || w.gap > 0 || len(w.pending) > 0 && len(w.pending)+len(p) > size {
		n := lines(p)
		w.stats.Dropped += n
		if !w.closed {
			w.gap += n // so do all that follow, until run has taken what is before them
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

// await waits for a batch, for as long as patience lasts.
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

// Stats tells what became of the lines so far.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Close writes what there is, for as long as limit allows, and reports whether
// all of it got out. Lines that come later are dropped.
func (w *Writer) Close(limit time.Duration) (all bool) {
	late := time.NewTimer(limit)
	defer late.Stop()
	defer w.hint()
	for {
		w.mu.Lock()
		wait := w.written
		if wait == nil {
			wait = w.under
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

// batch is what run writes at a time.
type batch struct {
	text   []byte
	gap    uint64 // lines dropped behind it
	notice func(n uint64) []byte
}

// run writes, batch by batch.
func (w *Writer) run() {
	for {
		b, over := w.take()
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

// take waits for the next batch; over: there comes none.
func (w *Writer) take() (b batch, over bool) {
	for {
		w.mu.Lock()
		if len(w.pending) > 0 {
			b = batch{w.pending, w.gap, w.notice}
			w.pending, w.spare, w.gap = w.spare, nil, 0
			w.under, w.written = w.written, nil
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

// done lets those go on who wait for a batch.
func (w *Writer) done(b batch, failed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Failed += failed
	close(w.under)
	w.under, w.spare = nil, b.text[:0]
	w.late = w.late && w.written != nil
}

// tell writes that lines are missing here.
func (w *Writer) tell(b batch) {
	if w.put(b.notice(w.lost)) == 0 {
		w.lost = 0
	}
}

// put writes text, and returns how many of its lines did not get out.
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

// some writes a part of p, and waits while the file takes nothing now.
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

// lines counts the lines of p, one without an end, too.
func lines(p []byte) uint64 {
	n := uint64(bytes.Count(p, []byte("\n")))
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return n
}
