package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"balhost/host/internal/frame"

	"github.com/coder/websocket"
)

// ending is why a socket ends: what its device is told, and what the log says.
type ending struct {
	code   websocket.StatusCode // 0: the device is told nothing, or has been told
	reason string               // at most 123 bytes
}

func (e *ending) Error() string {
	if e.code == 0 {
		return e.reason
	}
	return fmt.Sprintf("closed with %d: %s", e.code, e.reason)
}

func because(code websocket.StatusCode, reason string) *ending {
	return &ending{code: code, reason: reason}
}

// socket reads and writes the frames of one WebSocket. One goroutine reads; any may close.
type socket struct {
	ws   *websocket.Conn
	wire *wire
}

// scratch has memory for frames that are read: an idle socket holds none.
var scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putScratch(b *bytes.Buffer) {
	if b.Cap() <= 2*frame.MaxFrame {
		b.Reset()
		scratch.Put(b)
	}
}

// await waits for the next frame. Its stack is what an idle socket holds, so it keeps
// nothing on it.
func (s *socket) await() (io.Reader, *ending) {
	kind, r, err := s.ws.Reader(context.Background()) // no deadline here: it would start a timer for each frame
	if err != nil {
		return nil, s.lost(err)
	}
	if kind != websocket.MessageText {
		return nil, because(websocket.StatusUnsupportedData, "frames are JSON text, not binary")
	}
	return r, nil
}

// read reads the frame whose reader await has returned. With a [*frame.FieldError] the
// frame is usable; any other error is an [*ending].
func (s *socket) read(r io.Reader) (f frame.Frame, err error) {
	buf := scratch.Get().(*bytes.Buffer)
	defer putScratch(buf)
	if _, err := buf.ReadFrom(r); err != nil {
		return f, s.lost(err)
	}
	f, err = frame.DecodeFrame(buf.Bytes())
	switch {
	case err == nil, errors.As(err, new(*frame.FieldError)):
		return f, err
	case errors.Is(err, frame.ErrNotUTF8), errors.Is(err, frame.ErrNotJSON), errors.Is(err, frame.ErrHalf):
		return f, because(websocket.StatusInvalidFramePayloadData, err.Error())
	}
	return f, because(websocket.StatusPolicyViolation, err.Error())
}

// lost is what an error of reading means. A device that breaks the WebSocket's own rules
// has been told by the library.
func (s *socket) lost(err error) *ending {
	switch e := (*ending)(nil); {
	case errors.As(err, &e):
		return e
	case errors.Is(err, os.ErrDeadlineExceeded):
		return because(frame.CloseNoHello, "no hello came in time")
	case errors.Is(err, websocket.ErrMessageTooBig):
		return &ending{reason: fmt.Sprintf("a frame had more than %d bytes", frame.MaxFrame)}
	}
	return &ending{reason: err.Error()}
}

// close ends the socket. It waits a few seconds for the device's own close.
func (s *socket) close(e *ending) {
	if e.code == 0 {
		s.ws.CloseNow()
		return
	}
	s.ws.Close(e.code, e.reason)
}
