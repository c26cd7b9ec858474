package wire

import (
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is gRPC's own for protobuf with other buffers. gRPC's pool knows no
// size between 32 KiB and 1 MiB, and clears each buffer before use: a frame of
// 40 KiB costs the clearing of 1 MiB, a quarter of all CPU when it was measured. And
// it reads a plugin's frame as [heard].
type codec struct{ rest encoding.CodecV2 }

func newCodec() encoding.CodecV2 { return codec{rest: encoding.GetCodecV2(grpcproto.Name)} }

// frames are the buffers of frames: powers of two from 1 KiB to 1 MiB.
var frames = func() mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	if err != nil {
		panic(err) // of the numbers above
	}
	return pool
}()

func (c codec) Name() string { return grpcproto.Name }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return c.rest.Marshal(v)
	}
	size := proto.Size(m)
	buf := frames.Get(size)
	if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend((*buf)[:0], m); err != nil {
		frames.Put(buf)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buf, frames)}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(frames)
	defer buf.Free()
	switch m := v.(type) {
	case *heard:
		return m.unmarshal(buf.ReadOnlyData())
	case proto.Message:
		return proto.Unmarshal(buf.ReadOnlyData(), m)
	}
	return c.rest.Unmarshal(data, v)
}
