package wire

import (
	"context"

	"google.golang.org/grpc"
)

// Stream is the plugin's end of a session, made in its server's Session method.
// Done and Send may be called from any goroutine, Recv from one.
type Stream struct {
	rpc grpc.BidiStreamingServer[HostFrame, PluginFrame]
	out *queue[PluginFrame]
}

// NewStream wraps the session that gRPC handed to the plugin.
func NewStream(rpc grpc.BidiStreamingServer[HostFrame, PluginFrame]) *Stream {
	return &Stream{rpc: rpc, out: newQueue(mergePlugin, cutPlugin, weighPlugin)}
}

// Recv returns the host's next frame; io.EOF when the host has ended its half.
func (s *Stream) Recv() (*HostFrame, error) {
	f, err := s.rpc.Recv()
	return f, fromStatus(err)
}

// Send queues a frame for the host and never blocks. What gathers is merged;
// drained goes out after all results and calls queued before it.
func (s *Stream) Send(f *PluginFrame) { s.out.put(f) }

// Done queues the bare end of a delivery; it is Send without a frame.
func (s *Stream) Done(delivery uint64) {
	s.out.mu.Lock()
	if !s.out.closed {
		s.out.pending.Done = append(s.out.pending.Done, delivery)
	}
	s.out.mu.Unlock()
	s.out.hint()
}

// Close lets Write return when all that was sent has been written.
func (s *Stream) Close() { s.out.close() }

// Write writes what gathers, until Close, a broken stream or the end of ctx.
// The server's Session method must not return before it has.
func (s *Stream) Write(ctx context.Context) error {
	return fromStatus(s.out.drain(ctx, s.rpc.Send))
}
