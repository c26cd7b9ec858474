package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// half is what stands for half of a surrogate pair in these tests; spoilt makes it one, as
// protobufjs writes it for "\ud83d".
const half = "?!?"

func spoilt(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte(half), []byte("\xed\xa0\xbd"))
}

// A string that is not UTF-8 costs the result or the call that it stands in. The others
// of its frame count. // P10
func TestOneStringCostsOneResult(t *testing.T) {
	changes := func(d *Downstream) *Changes {
		return &Changes{Send: []*Downstream{{MessageId: "m"}, d}, Write: []*Write{{Key: "k", Value: []byte("1")}}}
	}
	const advice = " is not UTF-8: encode bytes as base64, and do not cut text inside a character"
	sent := &PluginFrame{
		Done: []uint64{1, 2}, Credit: 7, Pong: 3, Extend: []uint64{4}, Abandon: []uint64{5},
		Result: []*Result{
			{Delivery: 10, Code: Result_DONE, Changes: changes(&Downstream{MessageId: "n"})},
			{Delivery: 11, Code: Result_DONE, Changes: changes(&Downstream{Group: half, To: &Target{To: &Target_Token{Token: half}}})},
			{Delivery: 12, Code: Result_RETRY, DelayMs: 9, Error: "room " + half + " is gone", Changes: &Changes{Read: []*Read{{Key: "k", Version: 3}}}},
			{Delivery: 13, Code: Result_RETRY, Error: "e", Changes: &Changes{Read: []*Read{{Key: half}}}},
			{Delivery: 14, Code: Result_REJECT, Error: half},
			{Delivery: 15, Code: Result_DONE, Error: half, Changes: changes(&Downstream{})},
			{Delivery: 16, Code: Result_RELEASE},
		},
		Call: []*Call{
			{Id: 20, Op: &Call_Get{Get: half}}, {Id: 21, Op: &Call_Get{Get: "k"}, Delivery: 10},
			{Id: 22, Op: &Call_Update{Update: changes(&Downstream{Session: half})}},
		},
		RunFailure: &RunFailure{Failures: 2, Error: half},
		Drained:    true,
	}
	var h heard
	if err := h.unmarshal(spoilt(t, sent)); err != nil {
		t.Fatal(err)
	}
	want := proto.Clone(sent).(*PluginFrame)
	r := want.Result
	r[1] = &Result{Delivery: 11, Code: Result_REJECT, Error: "result.changes.send.to.token, result.changes.send.group" + advice}
	r[2].Error = "room \uFFFD is gone"
	r[3].Changes = nil
	r[4].Error, r[5].Error = "\uFFFD", "\uFFFD"
	want.Call = want.Call[1:2]
	want.RunFailure.Error = "\uFFFD"
	if !proto.Equal(h.frame, want) {
		t.Errorf("\ngot  %v\nwant %v", h.frame, want)
	}
	for i, id := range []uint64{20, 22} {
		if len(h.refused) != 2 || h.refused[i].Id != id || h.refused[i].Code != Reply_INVALID || !strings.HasSuffix(h.refused[i].Error, advice) {
			t.Errorf("replies %v", h.refused)
		}
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// The session goes on after such a frame, and its calls are answered. // P10
func TestSessionOutlivesBadStrings(t *testing.T) {
	e := newEar()
	replies := make(chan *Reply, 1)
	bad := spoilt(t, &PluginFrame{Call: []*Call{{Id: 5, Op: &Call_Get{Get: half}}}, Result: []*Result{{Delivery: 6, Error: half}}})
	client := connectTo(t, grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{newCodec()})), &scripted{session: func(s Plugin_SessionServer) error {
		if err := s.SendMsg(bad); err != nil {
			return err
		}
		f, err := s.Recv()
		if err != nil {
			return err
		}
		replies <- f.Reply[0]
		return s.Send(&PluginFrame{Done: []uint64{7}})
	}})
	e.open(t, client)
	if f := <-e.frames; len(f.Result) != 1 || f.Result[0].Delivery != 6 || len(f.Call) != 0 {
		t.Errorf("heard %v", f)
	}
	if r := <-replies; r.Id != 5 || r.Code != Reply_INVALID {
		t.Errorf("reply %v", r)
	}
	if f := <-e.frames; len(f.Done) != 1 {
		t.Errorf("heard %v", f)
	}
	if err := <-e.closed; err != nil {
		t.Errorf("closed with %v", err)
	}
}

// grease adds fields that nobody knows to m and to all that is in it.
func grease(m protoreflect.Message, rnd *rand.Rand) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				grease(v.List().Get(i).Message(), rnd)
			}
		default:
			grease(v.Message(), rnd)
		}
		return true
	})
	number := protowire.Number(100 + rnd.IntN(1<<20))
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), rnd.Uint64())
	unknown = protowire.AppendBytes(protowire.AppendTag(unknown, number+1, protowire.BytesType), []byte("\xff new"))
	m.SetUnknown(unknown)
}

// Fields of a newer plugin don't hinder an older host, nor the other way round; and the
// order of fields says nothing.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pluginFrame := &PluginFrame{
		Done: []uint64{1}, Credit: 3, Result: []*Result{{Delivery: 2, Code: Result_DONE, Changes: &Changes{
			Send:     []*Downstream{{MessageId: "m", To: &Target{To: &Target_Fid{Fid: "f"}}, Options: &Options{TtlS: proto.Int64(0)}}},
			Schedule: []*Schedule{{Key: "k", Lane: &Schedule_Device{Device: &Device{Device: "d"}}}}, Range: []*Range{{Prefix: "p"}},
		}}},
	}
	hostFrame := &HostFrame{
		Deliver: []*Delivery{{Delivery: 1, Event: &Delivery_Upstream{Upstream: &Upstream{Id: "u", Raw: []byte("{}")}}}},
		Reply:   []*Reply{{Id: 4, List: &ListReply{Item: []*Item{{Key: "k"}}}}}, Drain: &Drain{Reason: "r"},
	}
	for range 100 {
		greased := proto.Clone(pluginFrame)
		grease(greased.ProtoReflect(), rnd)
		b := spoilt(t, greased)
		var h heard
		if err := h.unmarshal(b); err != nil {
			t.Fatal(err)
		}
		bare(h.frame.ProtoReflect())
		if !proto.Equal(h.frame, pluginFrame) {
			t.Fatalf("got %v, want %v", h.frame, pluginFrame)
		}
		greased = proto.Clone(hostFrame)
		grease(greased.ProtoReflect(), rnd)
		got := carried(t, greased).(*HostFrame)
		bare(got.ProtoReflect())
		if !proto.Equal(got, hostFrame) {
			t.Fatalf("got %v, want %v", got, hostFrame)
		}
	}
}

// bare takes the unknown fields off again.
func bare(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				bare(v.List().Get(i).Message())
			}
		default:
			bare(v.Message())
		}
		return true
	})
}

// FuzzHeard: the host reads whatever a plugin writes, or ends the session; what it reads
// is UTF-8, and what protobuf would read it reads alike. // P10
func FuzzHeard(f *testing.F) {
	f.Add(spoilt(f, &PluginFrame{Result: []*Result{{Delivery: 1, Error: half, Changes: &Changes{Write: []*Write{{Key: half}}}}}}))
	f.Add(spoilt(f, &PluginFrame{Call: []*Call{{Id: 1, Op: &Call_Get{Get: half}}}, Done: []uint64{1, 2}}))
	f.Add([]byte{0x12, 0x03, 0x22, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h heard
		strict := &PluginFrame{}
		strictly := proto.Unmarshal(b, strict)
		if err := h.unmarshal(b); err != nil {
			if strictly == nil {
				t.Fatalf("protobuf reads it, the host does not: %v", err)
			}
			return
		}
		if strictly == nil && !proto.Equal(h.frame, strict) {
			t.Errorf("got %v, want %v", h.frame, strict)
		}
		if _, err := proto.Marshal(h.frame); err != nil {
			t.Errorf("read as %v: %v", h.frame, err)
		}
		for _, r := range h.refused {
			if !utf8.ValidString(r.Error) || r.Code != Reply_INVALID {
				t.Errorf("reply %v", r)
			}
		}
	})
}
