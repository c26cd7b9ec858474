package gateway

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/frame"
)

const (
	writeLimit = 10 * time.Second // for one write; a device that reads nothing for longer loses its connection
	readAhead  = 512              // bytes that one read may bring beside what is asked for; each idle socket holds them
	control    = 2 + 125          // bytes that a control frame has at most. Spec: RFC 6455 §5.5
	mostHeld   = 64 << 10         // bytes that wait for one write, and one frame more
)

// wire is the connection below a WebSocket. Frames that are ready together leave in one
// write, each write has a deadline, and an idle wire holds no memory for writing.
type wire struct {
	net.Conn

	// The reader's: whoever reads the WebSocket.
	ahead   []byte            // what net/http had read when the connection became ours
	read    frames            // of what was read
	empty   func(int) *ending // is told how many of those bring nothing, and says when these were too many
	flooded *ending           // they were

	mu     sync.Mutex // guards what follows, and writes to Conn
	held   bool       // frames are collected
	out    *[]byte    // of them; nil: none
	closed bool       // a close frame is among them, or has left: it is the last
	err    error      // of the write that failed

	hurry sync.Mutex // guards what follows
	until time.Time  // when writes end now
	last  time.Time  // if not zero, every write ends by then
}

// spare has memory for frames that are written.
var spare = sync.Pool{New: func() any { return new([]byte) }}

func putSpare(b *[]byte) {
	if cap(*b) <= 2*mostHeld {
		*b = (*b)[:0]
		spare.Put(b)
	}
}

// Read implements [net.Conn]. After too many frames that bring nothing it reads no more.
func (w *wire) Read(p []byte) (int, error) {
	if w.flooded != nil {
		return 0, w.flooded
	}
	n, err := w.next(p)
	if empty := w.read.empty(p[:n]); empty > 0 {
		if w.flooded = w.empty(empty); w.flooded != nil {
			return 0, w.flooded
		}
	}
	return n, err
}

func (w *wire) next(p []byte) (int, error) {
	if len(w.ahead) > 0 {
		n := copy(p, w.ahead)
		if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
			w.ahead = nil
		}
		return n, nil
	}
	return w.Conn.Read(p)
}

// Write writes p, or keeps it for release. p is a control frame of the library, which has a
// buffer that takes a whole one.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = w.closed || closes(p)
	if !w.held {
		return len(p), w.send(p)
	}
	return len(p), w.keep(append(w.buffer(), p...))
}

// frame appends f to what leaves with the next release, which has the error.
func (w *wire) frame(f *frame.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.err == nil {
		w.keep(appendText(w.buffer(), f)) //nolint:errcheck // release has it
	}
}

// buffer has what is held so far.
func (w *wire) buffer() []byte {
	if w.out == nil {
		w.out = spare.Get().(*[]byte)
	}
	return *w.out
}

// keep makes b what is held. If that is much, it leaves.
func (w *wire) keep(b []byte) error {
	if *w.out = b; len(b) > mostHeld {
		return w.flush()
	}
	return nil
}

// hold collects what is written until release.
func (w *wire) hold() {
	w.mu.Lock()
	w.held = true
	w.mu.Unlock()
}

// release writes what was held.
func (w *wire) release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = false
	return w.flush()
}

func (w *wire) flush() error {
	if w.out == nil {
		return w.err
	}
	err := w.send(*w.out)
	putSpare(w.out)
	w.out = nil
	return err
}

// send writes p at once. After a write that failed, half a frame may be on the wire: then
// nothing follows it.
func (w *wire) send(p []byte) error {
	if w.err != nil {
		return w.err
	}
	if w.err = w.deadline(time.Now()); w.err == nil {
		_, w.err = w.Conn.Write(p)
	}
	if w.err != nil {
		w.err = fmt.Errorf("write to the device: %w", w.err)
	}
	return w.err
}

// deadline makes a write that begins now end in time: within writeLimit, and not before half
// of that. To set it is not cheap, so it is not set for every write.
func (w *wire) deadline(now time.Time) error {
	w.hurry.Lock()
	defer w.hurry.Unlock()
	if w.until.Sub(now) > writeLimit/2 {
		return nil
	}
	w.until = now.Add(writeLimit)
	if !w.last.IsZero() && w.last.Before(w.until) {
		w.until = w.last
	}
	return w.Conn.SetWriteDeadline(w.until)
}

// hasten makes every write end by t, also one that is under way.
func (w *wire) hasten(t time.Time) {
	w.hurry.Lock()
	defer w.hurry.Unlock()
	w.last, w.until = t, t
	w.Conn.SetWriteDeadline(t)
}

// hijack lets websocket.Accept take the connection as a wire, with small buffers instead
// of net/http's: those of 10,000 idle sockets would take 80 MiB.
type hijack struct {
	http.ResponseWriter
	empty  func(int) *ending // the wire's
	wire   *wire             // set by Hijack
	status int               // with which the library refuses the handshake
}

// WriteHeader implements [http.ResponseWriter]. The library's refusals are plain texts, and
// [hijack.refusal] has the answer in their place.
func (h *hijack) WriteHeader(status int) {
	if h.status != 0 {
		return
	}
	if h.status = status; status == http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
	}
}

// Write implements [http.ResponseWriter].
func (h *hijack) Write(p []byte) (int, error) {
	return len(p), nil
}

// refusal is the answer to a handshake that failed; nil if there is nobody to answer.
func (h *hijack) refusal(err error) *refusal {
	if h.wire != nil || h.status == http.StatusSwitchingProtocols {
		return nil
	}
	code := frame.CodeInvalidField
	if h.status == http.StatusUpgradeRequired {
		code = frame.CodeUpgradeNeeded
	}
	return &refusal{status: h.status, code: code, description: err.Error()}
}

// Hijack implements http.Hijacker.
func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	ahead, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	h.wire = &wire{Conn: conn, ahead: slices.Clone(ahead), empty: h.empty}
	return h.wire, bufio.NewReadWriter(bufio.NewReaderSize(h.wire, readAhead), bufio.NewWriterSize(h.wire, control)), nil
}
