package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/wire"

	"google.golang.org/protobuf/proto"
)

// FuzzPluginFrame: whatever a plugin's frame says, each event ends: handled, or as a dead
// letter. And no change is stored that breaks a limit. // P8, P10
func FuzzPluginFrame(f *testing.F) {
	for _, frame := range []*wire.PluginFrame{
		{Done: []uint64{1, 1, 99}, Result: []*wire.Result{{Delivery: 2}, {Delivery: 3, Code: wire.Result_REJECT}, {Delivery: 3, Code: wire.Result_DONE}}},
		{Result: []*wire.Result{{Delivery: 1, Code: wire.Result_DONE, Changes: &wire.Changes{
			Send: []*wire.Downstream{{MessageId: "m", To: toToken, Data: []byte(`{"k":"v"}`), Options: &wire.Options{TtlS: proto.Int64(-1)}}}, Read: []*wire.Read{{Key: "known", Version: 7}},
		}}}},
		{Result: []*wire.Result{{Delivery: 1, Code: wire.Result_DONE, Changes: &wire.Changes{Write: []*wire.Write{{Key: "k", Value: []byte("1"), Remove: true}}}}}, Credit: 1},
		{Call: []*wire.Call{{Id: 1}, {Id: 2, Op: &wire.Call_Get{Get: "known"}, Delivery: 1}, {Op: &wire.Call_Update{}, Transaction: 3}}, Extend: []uint64{1}, Abandon: []uint64{2}},
		{Drained: true, Pong: 4, RunFailure: &wire.RunFailure{WaitMs: -1}},
	} {
		b, err := proto.Marshal(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := &wire.PluginFrame{}
		if proto.Unmarshal(b, frame) != nil {
			t.Skip("no frame")
		}
		for _, r := range frame.Result {
			r.DelayMs = min(r.DelayMs, 1000) // the test ends earlier than what a plugin may ask for
		}
		booted(t, func(b *bench) {
			p := b.echo(nil, unordered)
			b.upstreams("anna", "1", "2", "3")
			synctest.Wait()
			p.plugin.Frame(frame)
			synctest.Wait()
			p.plugin.Gone("the test ends it")
			b.echo(done, unordered)
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := b.ledger.pending(); n != 0 {
				t.Errorf("%d events are pending after %v", n, frame)
			}
			for _, s := range b.ledger.ends() {
				if s.Verdict != entry.Done && !s.Changes.Empty() && len(s.Changes.Sends)+len(s.Changes.Writes) > 0 {
					t.Errorf("committed without DONE: %+v", s)
				}
				for _, w := range s.Changes.Writes {
					if err := wire.CheckKey(w.Key); err != nil {
						t.Error(err)
					}
				}
			}
		})
	})
}
