package sdk_test

import (
	"context"
	"testing"

	"balhost/sdk"
	"balhost/sdk/wire"

	"google.golang.org/protobuf/proto"
)

// FuzzHostFrame: whatever a frame of the host says, each of its deliveries is ended once,
// and the plugin goes on, or ends in order if it was told to. // P8
func FuzzHostFrame(f *testing.F) {
	for _, frame := range []*wire.HostFrame{
		{Deliver: []*wire.Delivery{{Delivery: 1, Event: &wire.Delivery_Upstream{Upstream: &wire.Upstream{Id: "a", Raw: []byte("{}"), DataStart: 1, DataEnd: 9}}}, {Delivery: 1}}},
		{Deliver: []*wire.Delivery{{Event: &wire.Delivery_Receipt{}}, {Delivery: 2, TimeoutMs: 1, Event: &wire.Delivery_Timer{}}}, Revoke: []uint64{2, 3}, Run: true},
		{Reply: []*wire.Reply{{Id: 1, Code: 9, List: &wire.ListReply{}}}, Ping: 5, Sessions: []string{"a", ""}, Transports: []string{"x"}, LogLevel: "loud"},
		{Deliver: []*wire.Delivery{{Delivery: 1, Event: &wire.Delivery_Outcome{Outcome: &wire.Outcome{}}}}, Drain: &wire.Drain{TimeoutMs: 100_000}},
	} {
		b, err := proto.Marshal(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := &wire.HostFrame{}
		if proto.Unmarshal(b, frame) != nil {
			t.Skip("no frame")
		}
		l := dial(t, with(func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil }), quiet)
		deliveries, drains := len(frame.Deliver), frame.Drain != nil
		l.session.Send(frame)
		l.until(func(all *wire.PluginFrame) bool {
			if ends := len(all.Done) + len(all.Result); ends < deliveries {
				return false
			} else if ends > deliveries {
				t.Fatalf("%d ends of %d deliveries", ends, deliveries)
			}
			return all.Drained == drains
		})
		if drains {
			if err := <-l.closed; err != nil {
				t.Errorf("it ended with %v", err)
			}
		} else if err := l.session.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
