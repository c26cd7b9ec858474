package wire

import (
	"context"

	"google.golang.org/grpc"
)

// PluginStream is the plugin's side of the stream. The plugin's server makes it in
// its Session method. Done and Send may be called from any goroutine, Recv from one.
type PluginStream struct {
	rpc grpc.BidiStreamingServer[HostFrame, PluginFrame]
	out *queue[PluginFrame]
}

// NewPluginStream wraps the stream that gRPC gave to the Session method.
func NewPluginStream(rpc grpc.BidiStreamingServer[HostFrame, PluginFrame]) *PluginStream {
	return &PluginStream{rpc: rpc, out: newQueue(mergePlugin, cutPlugin, weighPlugin)}
}

// Recv returns the host's next frame; io.EOF when the host has ended its half.
func (s *PluginStream) Recv() (*HostFrame, error) {
	f, err := s.rpc.Recv()
	return f, fromStatus(err)
}

// Send queues a frame for the host and never blocks. Queued frames are merged;
// drained goes out after all results and calls that were queued before it.
func (s *PluginStream) Send(f *PluginFrame) { s.out.put(f) }

// Done queues the end of a delivery that changed nothing. It is Send without a frame.
func (s *PluginStream) Done(delivery uint64) {
	s.out.mu.Lock()
	if !s.out.closed {
		s.out.pending.Done = append(s.out.pending.Done, delivery)
	}
	s.out.mu.Unlock()
	s.out.hint()
}

// Close lets Write return when all that was sent has been written.
func (s *PluginStream) Close() { s.out.close() }

// Write writes the queued frames, until Close, a broken stream or the end of ctx.
// The server's Session method must not return before Write has.
func (s *PluginStream) Write(ctx context.Context) error {
	return fromStatus(s.out.writeTo(ctx, s.rpc.Send))
}
