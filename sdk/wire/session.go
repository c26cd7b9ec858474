package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Session is the host's end of a session stream: Open opens it, Run carries
// frames both ways, Send queues one for the plugin.
type Session struct {
	stream grpc.BidiStreamingClient[HostFrame, PluginFrame]
	cut    context.CancelCauseFunc // ends the stream
	out    *queue[HostFrame]
	done   chan struct{} // closed by Run, when nothing more comes

	mu       sync.Mutex // guards pings and lastPing
	pings    map[uint64]chan<- struct{}
	lastPing uint64
}

// Run hands each frame of the plugin to hear, and writes what Send has queued,
// until the session ends. hear owns its frame; while it blocks, the plugin is
// slowed down. Pongs have been answered already.
//
// The error says why the session has ended; nil: the plugin ended it in order.
// Deliveries that have no result by then have died with the session.
func (s *Session) Run(hear func(*PluginFrame)) error {
	var writer errgroup.Group
	writer.Go(s.write)
	err := s.read(hear)
	close(s.done)
	s.out.close()
	if status.Code(err) == codes.Canceled {
		err = context.Cause(s.stream.Context()) // says more than gRPC's "canceled"
	}
	s.cut(nil) // lets the writer go, and what gRPC keeps for the stream
	_ = writer.Wait()
	return fromStatus(err)
}

// read hands frames to hear until the stream ends; nil: the plugin ended it.
func (s *Session) read(hear func(*PluginFrame)) error {
	for {
		s.out.throttle(s.stream.Context(), maxBacklog)
		f, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		s.pong(f.Pong)
		hear(f)
	}
}

// write sends what gathers, until the queue is closed and empty or the stream
// breaks. What broke it is read's to report.
func (s *Session) write() error {
	err := s.out.drain(s.stream.Context(), s.stream.Send)
	switch {
	case err == nil:
		return s.stream.CloseSend() // never fails: the stream's state comes from Recv
	case !errors.Is(err, io.EOF): // EOF: the stream is over, and read has its reason
		s.cut(fmt.Errorf("write to plugin: %w", err))
	}
	return nil
}

// Send queues a frame for the plugin and never blocks. What gathers is merged
// into frames of at most 64 deliveries and about 256 KiB; of one kind, order is
// kept. The frame belongs to the session from then on. After the end of the
// session it is dropped.
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

// Close ends the host's half once what is queued has been written. It does not
// wait. The plugin ends its own half upon that, and then Run returns.
func (s *Session) Close() { s.out.close() }

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
