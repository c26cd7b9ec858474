package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// HostStream is the host's side of the stream to a plugin. Client.Open opens it, Run
// carries frames both ways, Send queues a frame for the plugin.
type HostStream struct {
	rpc  grpc.BidiStreamingClient[HostFrame, PluginFrame]
	cut  context.CancelCauseFunc // ends the stream
	out  *queue[HostFrame]
	done chan struct{} // closed by Run, when nothing more comes

	mu       sync.Mutex // guards pings and lastPing
	pings    map[uint64]chan<- struct{}
	lastPing uint64
}

// Run hands each frame of the plugin to hear, and writes what Send has queued,
// until the stream ends. hear owns its frame. While hear blocks, the plugin is
// slowed down. Pongs are answered before hear is called.
//
// The error says why the stream has ended; nil: the plugin ended it in order.
// Deliveries that have no result by then will get none.
func (s *HostStream) Run(hear func(*PluginFrame)) error {
	var writer errgroup.Group
	writer.Go(s.write)
	err := s.read(hear)
	close(s.done)
	s.out.close()
	if status.Code(err) == codes.Canceled {
		err = context.Cause(s.rpc.Context()) // says more than gRPC's "canceled"
	}
	s.cut(nil) // ends the writer, and what gRPC keeps for the stream
	_ = writer.Wait()
	return fromStatus(err)
}

// read hands frames to hear until the stream ends; nil: the plugin ended it.
func (s *HostStream) read(hear func(*PluginFrame)) error {
	for {
		s.out.throttle(s.rpc.Context(), maxBacklog)
		var f heard
		if err := s.rpc.RecvMsg(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return tooLarge(err)
		}
		if f.refused != nil {
			s.Send(&HostFrame{Reply: f.refused})
		}
		s.pong(f.frame.Pong)
		hear(f.frame)
	}
}

// tooLarge names the limit that a frame was over, which gRPC's own words don't.
func tooLarge(err error) error {
	if status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max") {
		return fmt.Errorf("it sent a frame of more than %d MiB, the limit of one frame: send large results and calls in frames of their own (%s)", MaxFrame>>20, status.Convert(err).Message())
	}
	return err
}

// write writes the queued frames, until the queue is closed and empty or the
// stream breaks. Run reports why it broke.
func (s *HostStream) write() error {
	err := s.out.writeTo(s.rpc.Context(), s.rpc.Send)
	switch {
	case err == nil:
		return s.rpc.CloseSend() // never fails: read learns the stream's state
	case !errors.Is(err, io.EOF): // EOF: the stream is over, and read learns why
		s.cut(fmt.Errorf("write to plugin: %w", err))
	}
	return nil
}

// Send queues a frame for the plugin and never blocks. Queued frames are merged
// into frames of at most 64 deliveries and about 256 KiB. Items of one kind keep
// their order. The frame belongs to the stream from then on. After the end of the
// stream it is dropped.
//
// When more than 8 MiB wait for a plugin that does not read, Run reads nothing
// from it either: a flood of calls can't fill the host with replies (P10).
func (s *HostStream) Send(f *HostFrame) { s.out.put(f) }

// Close ends the host's half of the stream, once the queued frames are written. It
// does not wait. The plugin then ends its own half, and Run returns.
func (s *HostStream) Close() { s.out.close() }

// Ping asks the plugin's reading goroutine for a sign of life, and waits for it.
func (s *HostStream) Ping(ctx context.Context) error {
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

// pong answers the ping with this id, and all before it: frames are merged and
// keep the last pong only.
func (s *HostStream) pong(id uint64) {
	if id == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for waiting, pong := range s.pings {
		if waiting <= id {
			close(pong)
			delete(s.pings, waiting)
		}
	}
}
