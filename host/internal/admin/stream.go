package admin

import (
	"bytes"
	"encoding/json"
	"errors"
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

	mu   sync.Mutex         // guards open, and the deadlines of those in it
	open map[*stream]string // by who reads
}

func newStreams() *streams {
	return &streams{ending: make(chan struct{}), open: map[*stream]string{}}
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

// begin makes a stream of an answer. The caller calls its close. It is nil, and the answer is
// an error, when the reader has maxTails; an admin may have all.
func (s *streams) begin(w http.ResponseWriter, r *http.Request) *stream {
	c := callerOf(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := 0
	for _, who := range s.open {
		if who == c.who {
			mine++
		}
	}
	if c.role < Admin && mine >= maxTails {
		fail(w, http.StatusTooManyRequests, errTails)
		return nil
	}
	readWithin(w, 0) // or the request's context would end at the deadline
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("X-Accel-Buffering", "no") // a proxy is to pass each event on
	one := &stream{w: w, of: s, still: c.still}
	s.open[one] = c.who
	return one
}

// stream is one answer of server-sent events. One goroutine uses it.
type stream struct {
	w   http.ResponseWriter
	of  *streams
	buf bytes.Buffer // what flush writes

	still func() bool // the caller may still read; nil: it may
	over  bool        // it may not
}

// errDenied ends the stream of a caller whose token is gone, or who has logged out.
var errDenied = errors.New("the token is not valid any more, or has another role")

// alive adds a sign of life, and has the next flush end the stream if the caller may not read
// any more. It is called each beat.
func (s *stream) alive() {
	if s.still != nil && !s.still() {
		s.over = true
		s.event("end", Ended{errDenied.Error()})
		return
	}
	s.comment("the host is there")
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

// flush writes what was added. Its error means that the reader has gone, takes nothing, or
// may not read any more.
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
	if err := http.NewResponseController(s.w).Flush(); err != nil || !s.over {
		return err
	}
	return errDenied
}

func (s *stream) close() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	delete(s.of.open, s)
}
