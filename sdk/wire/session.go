package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
)

// SessionHandler hears what a plugin says. Its methods are called one after the
// other from the session's one reading goroutine.
type SessionHandler interface {
	// Frame takes one frame, which it owns from then on. While it blocks the
	// plugin is slowed down. Pongs have been answered already.
	Frame(*PluginFrame)
	// Closed is the last call. nil: the plugin ended the session in order.
	// Deliveries that were not settled before it have died with the session.
	Closed(error)
}

// Session is the host's end of a session stream.
type Session struct {
	stream  grpc.BidiStreamingClient[HostFrame, PluginFrame]
	handler SessionHandler
	out     *queue[HostFrame]
	tasks   sync.WaitGroup // read and write
	done    chan struct{}  // closed by read, when nothing more comes

	mu       sync.Mutex // guards pings and lastPing
	pings    map[uint64]chan<- struct{}
	lastPing uint64
}

func newSession(stream grpc.BidiStreamingClient[HostFrame, PluginFrame], h SessionHandler) *Session {
	return &Session{
		stream: stream, handler: h, out: newQueue(mergeHost, cutHost, weighHost),
		done: make(chan struct{}), pings: map[uint64]chan<- struct{}{},
	}
}

// Send queues a frame for the plugin and never blocks. What gathers is merged
// into frames of at most 64 deliveries and about 256 KiB; of one kind, order is
// kept. The frame belongs to the session from then on. After the end of the
// session it is dropped, as Closed has told or will tell.
//
// A plugin that does not read what is queued for it is not read either, from
// 8 MiB on: so a flood of calls can't fill the host with replies (P10).
func (s *Session) Send(f *HostFrame) { s.out.put(f) }

// Ping asks the plugin's reading goroutine for a sign of life, and waits for it.
func (s *Session) Ping(ctx context.Context) error {
	pong := make(chan struct{})
	s.mu.Lock()
	s.lastPing++
	id := s.lastPing
	s.pings[id] = pong
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pings, id)
		s.mu.Unlock()
	}()
	s.Send(&HostFrame{Ping: id})
	select {
	case <-pong:
		return nil
	case <-s.done:
		return fmt.Errorf("ping: %w: session has ended", ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("ping: no pong: %w", context.Cause(ctx))
	}
}

// Close ends the host's half once what is queued has been written. The plugin
// ends its own upon that; Closed follows. It does not wait; Wait does.
func (s *Session) Close() { s.out.close() }

// Wait returns when Closed has been called and the session's goroutines are over.
func (s *Session) Wait() { s.tasks.Wait() }

// read hands every frame to the handler, until the stream ends.
func (s *Session) read(ctx context.Context, cancel context.CancelCauseFunc) {
	var err error
	for err == nil {
		var f *PluginFrame
		s.out.throttle(s.stream.Context(), maxBacklog)
		if f, err = s.stream.Recv(); err == nil {
			s.pong(f.Pong)
			s.handler.Frame(f)
		}
	}
	close(s.done)
	s.out.close()
	switch cause := context.Cause(ctx); {
	case errors.Is(err, io.EOF):
		err = nil
	case cause != nil:
		err = cause // says more than gRPC's "canceled"
	}
	cancel(errEnded) // lets write go, and gRPC's resources
	s.handler.Closed(fromStatus(err))
}

func (s *Session) pong(id uint64) {
	if id == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for waiting, pong := range s.pings { // one pong answers all earlier pings too: frames merge, and keep the last
		if waiting <= id {
			close(pong)
			delete(s.pings, waiting)
		}
	}
}

// write sends what gathers, until the queue is closed and empty or the stream
// breaks. It need not report that: read sees it too.
func (s *Session) write(ctx context.Context, cancel context.CancelCauseFunc) {
	if err := s.out.drain(ctx, s.stream.Send); err != nil {
		if !errors.Is(err, io.EOF) { // EOF: the stream is over, and read has its reason
			cancel(fmt.Errorf("write to plugin: %w", err))
		}
		return
	}
	_ = s.stream.CloseSend() // never fails: the stream's state comes from Recv
}
