package plugincheck

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"balhost/sdk/wire"
)

// stream carries frames as bytes, so that the check can write what no host would, and see
// what a host mends. Frames that wait are merged as a host does it.
type stream struct {
	rpc  grpc.ClientStream
	cut  context.CancelFunc
	work errgroup.Group // the writer

	mu     sync.Mutex // guards what follows
	queue  []outgoing
	closed bool
	more   chan struct{} // a hint to the writer, capacity 1
}

// outgoing is a frame. One with unknown fields is not merged.
type outgoing struct {
	frame   *wire.HostFrame
	unknown []byte
}

// openStream opens the session on a connection.
func openStream(conn *grpc.ClientConn) (*stream, error) {
	ctx, cut := context.WithCancel(context.Background())
	rpc, err := conn.NewStream(ctx, &wire.Plugin_ServiceDesc.Streams[0], wire.Plugin_Session_FullMethodName, grpc.ForceCodecV2(asBytes{encoding.GetCodecV2(grpcproto.Name)}))
	if err != nil {
		cut()
		return nil, fmt.Errorf("open session: %w", err)
	}
	s := &stream{rpc: rpc, cut: cut, more: make(chan struct{}, 1)}
	s.work.Go(s.write)
	return s, nil
}

// send queues a frame and never waits.
func (s *stream) send(f *wire.HostFrame) { s.put(outgoing{frame: f}) }

func (s *stream) put(o outgoing) {
	s.mu.Lock()
	s.queue = append(s.queue, o)
	s.mu.Unlock()
	s.hint()
}

// halfClose ends the host's half, after all that is queued.
func (s *stream) halfClose() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hint()
}

func (s *stream) hint() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// write writes what is queued until the stream ends.
func (s *stream) write() error {
	for {
		o, has, closed := s.next()
		switch {
		case has:
			b, err := proto.Marshal(o.frame)
			if err != nil {
				return err
			}
			if err := s.rpc.SendMsg(append(b, o.unknown...)); err != nil {
				return err // the reader learns why
			}
		case closed:
			return s.rpc.CloseSend()
		default:
			select {
			case <-s.more:
			case <-s.rpc.Context().Done():
				return nil
			}
		}
	}
}

// mergedAtMost is how many items a host's frame has at most.
const mergedAtMost = 64

// next takes what goes into the next frame off the queue.
func (s *stream) next() (o outgoing, has, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return o, false, s.closed
	}
	o, s.queue = s.queue[0], s.queue[1:]
	for o.mergeable() && len(s.queue) > 0 && s.queue[0].mergeable() && len(o.frame.Deliver)+len(o.frame.Reply) < mergedAtMost {
		f := s.queue[0].frame
		o.frame = &wire.HostFrame{Deliver: append(o.frame.Deliver, f.Deliver...), Reply: append(o.frame.Reply, f.Reply...)}
		s.queue = s.queue[1:]
	}
	return o, true, s.closed
}

// mergeable reports whether a frame has deliveries and replies only, and not too much.
func (o outgoing) mergeable() bool {
	f := o.frame
	return o.unknown == nil && f.Revoke == nil && f.Drain == nil && f.Ping == 0 && !f.Run && f.LogLevel == "" && f.Sessions == nil &&
		(len(f.Deliver) == 0 || len(f.Deliver[0].GetUpstream().GetRaw()) < 4<<10)
}

// recv is the plugin's next frame. wrong says that the bytes are no frame as protobuf has
// it, and a host would mend what it can of it.
func (s *stream) recv() (f *wire.PluginFrame, wrong, err error) {
	var b []byte
	if err := s.rpc.RecvMsg(&b); err != nil {
		return nil, nil, err
	}
	f = &wire.PluginFrame{}
	if wrong := proto.Unmarshal(b, f); wrong != nil {
		f, err := wire.ReadPluginFrame(b)
		return f, wrong, err
	}
	return f, nil, nil
}

// asBytes is a codec that leaves bytes as they are.
type asBytes struct{ rest encoding.CodecV2 }

func (c asBytes) Name() string { return grpcproto.Name }

func (c asBytes) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.rest.Marshal(v)
}

func (c asBytes) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*[]byte); ok {
		*b = data.Materialize()
		return nil
	}
	return c.rest.Unmarshal(data, v)
}
