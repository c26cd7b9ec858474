package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"balhost/host/internal/plain"
)

// Times of a stream of server-sent events.
const (
	beat      = 15 * time.Second      // between two signs of life
	gather    = 50 * time.Millisecond // between two writes, so that one carries much
	patience  = 5 * time.Minute       // for a reader that takes nothing, such as a suspended terminal
	lastWrite = 500 * time.Millisecond
)

// streams are the answers that go on until somebody ends them. [http.Server.Shutdown]
// would wait for them.
type streams struct {
	ending chan struct{} // closed by end

	mu   sync.Mutex // guards open, and the deadlines of those in it
	open map[*stream]struct{}
}

func newStreams() *streams {
	return &streams{ending: make(chan struct{}), open: map[*stream]struct{}{}}
}

// end ends all streams within lastWrite, even those whose reader takes nothing. It is called once.
func (s *streams) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ending)
	for one := range s.open {
		writeWithin(one.w, lastWrite)
	}
}

// begin makes a stream of an answer. The caller calls its close.
func (s *streams) begin(w http.ResponseWriter) *stream {
	readWithin(w, 0) // or the request's context would end at the deadline
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy is to pass each event on
	one := &stream{w: w, of: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[one] = struct{}{}
	return one
}

// stream is one answer of server-sent events. One goroutine uses it.
type stream struct {
	w   http.ResponseWriter
	of  *streams
	buf bytes.Buffer // what flush writes
}

// event adds an event with v as its JSON.
func (s *stream) event(name string, v any) {
	s.buf.WriteString("event: " + name + "\ndata: ")
	e := json.NewEncoder(plain.Writer{W: &s.buf})
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it ends the line
	s.buf.WriteByte('\n')
}

// comment adds a line that programs skip.
func (s *stream) comment(text string) { s.buf.WriteString(": " + text + "\n\n") }

// flush writes what was added. Its error means that the reader has gone, or takes nothing.
func (s *stream) flush() error {
	s.of.mu.Lock()
	select {
	case <-s.of.ending:
		writeWithin(s.w, lastWrite)
	default:
		writeWithin(s.w, patience)
	}
	s.of.mu.Unlock()
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	if err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

func (s *stream) close() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	delete(s.of.open, s)
}
