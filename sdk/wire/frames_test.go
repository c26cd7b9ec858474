package wire

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// cuts is the whole of pending, piece by piece.
func cuts[F any](pending *F, cut func(*F) *F) (all []*F) {
	for f := cut(pending); f != nil; f = cut(pending) {
		all = append(all, f)
	}
	return all
}

func deliveries(size int, ids ...uint64) []*Delivery {
	var list []*Delivery
	for _, id := range ids {
		list = append(list, &Delivery{Delivery: id, Event: &Delivery_Upstream{Upstream: &Upstream{Raw: make([]byte, size)}}})
	}
	return list
}

func upTo(n int) (ids []uint64) {
	for i := range n {
		ids = append(ids, uint64(i+1))
	}
	return ids
}

// Frames are cut by number and by size, nothing is lost or turned round, and
// what means "after those" comes after those.
func TestHostFramesAreCut(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		number int
		frames []int // deliveries in each
	}{
		{"few", 300, 5, []int{5}},
		{"many", 300, 130, []int{64, 64, 2}},
		{"large", 100 << 10, 5, []int{2, 2, 1}},
		{"larger than a frame", 1 << 20, 3, []int{1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pending := &HostFrame{}
			mergeHost(pending, &HostFrame{Ping: 3, Run: true, LogLevel: "debug", Sessions: []string{"main"}, Transports: []string{"fcm_v1"}})
			mergeHost(pending, &HostFrame{Deliver: deliveries(c.size, upTo(c.number)[:1]...), Ping: 4})
			mergeHost(pending, &HostFrame{Deliver: deliveries(c.size, upTo(c.number)[1:]...), Revoke: []uint64{1}})
			mergeHost(pending, &HostFrame{Drain: &Drain{Reason: "x"}, Revoke: []uint64{2}})
			frames := cuts(pending, cutHost)
			var ids []uint64
			for i, f := range frames {
				if len(f.Deliver) != c.frames[i] {
					t.Errorf("frame %d has %d deliveries, want %d", i, len(f.Deliver), c.frames[i])
				}
				for _, d := range f.Deliver {
					ids = append(ids, d.Delivery)
				}
				last := i == len(frames)-1
				if (f.Drain != nil) != last || (len(f.Revoke) == 2) != last {
					t.Errorf("frame %d: drain %v, revoke %v; last: %v", i, f.Drain, f.Revoke, last)
				}
			}
			if !slices.Equal(ids, upTo(c.number)) {
				t.Errorf("deliveries %v", ids)
			}
			if f := frames[0]; f.Ping != 4 || !f.Run || f.LogLevel != "debug" || len(f.Sessions) != 1 || len(f.Transports) != 1 {
				t.Errorf("first frame: %v", f)
			}
		})
	}
}

func TestPluginFramesAreCut(t *testing.T) {
	pending := &PluginFrame{}
	large := func(id uint64) *Result {
		return &Result{Delivery: id, Changes: &Changes{Write: []*Write{{Key: "k", Value: make([]byte, 200<<10)}}}}
	}
	mergePlugin(pending, &PluginFrame{Credit: 10, Done: upTo(600), Pong: 1})
	mergePlugin(pending, &PluginFrame{Result: []*Result{large(1), large(2), large(3)}, Extend: []uint64{9}, Pong: 2})
	mergePlugin(pending, &PluginFrame{Call: []*Call{{Id: 1, Op: &Call_Get{Get: "k"}}}, Drained: true, Credit: 20, RunFailure: &RunFailure{Failures: 1}})
	frames := cuts(pending, cutPlugin)
	var done, results []uint64
	for i, f := range frames {
		if len(f.Done) > maxDone || len(f.Result) > 1 {
			t.Errorf("frame %d: %d done, %d results", i, len(f.Done), len(f.Result))
		}
		done = append(done, f.Done...)
		for _, r := range f.Result {
			results = append(results, r.Delivery)
		}
		if f.Drained != (i == len(frames)-1) {
			t.Errorf("frame %d of %d: drained %v", i, len(frames), f.Drained)
		}
	}
	if !slices.Equal(done, upTo(600)) || !slices.Equal(results, []uint64{1, 2, 3}) {
		t.Errorf("done %v, results %v", done, results)
	}
	if f := frames[0]; f.Credit != 20 || f.Pong != 2 || len(f.Extend) != 1 || f.RunFailure == nil {
		t.Errorf("first frame: %v", f)
	}
}

// While a write is under way others gather; nothing sent before close is lost.
func TestQueueMergesWhatGathers(t *testing.T) {
	q := newQueue(mergeHost, cutHost, weighHost)
	writing, written := make(chan struct{}), make(chan struct{})
	var ids []uint64
	frames := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		err := q.writeTo(t.Context(), func(f *HostFrame) error {
			if frames++; frames == 1 {
				close(writing)
				<-written
			}
			for _, d := range f.Deliver {
				ids = append(ids, d.Delivery)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	all := upTo(50)
	q.put(&HostFrame{Deliver: deliveries(10, all[0])})
	<-writing
	for _, id := range all[1:] {
		q.put(&HostFrame{Deliver: deliveries(10, id)})
	}
	close(written)
	q.close()
	wg.Wait()
	q.put(&HostFrame{Ping: 1}) // dropped
	if !slices.Equal(ids, all) || frames != 2 {
		t.Errorf("%d frames with %v", frames, ids)
	}
	if f, _ := q.next(); f != nil {
		t.Errorf("after close: %v", f)
	}
}

func TestQueueEndsWithItsStream(t *testing.T) {
	q := newQueue(mergeHost, cutHost, weighHost)
	q.put(&HostFrame{Ping: 1})
	broken := errors.New("broken")
	if err := q.writeTo(t.Context(), func(*HostFrame) error { return broken }); err != broken {
		t.Errorf("failed write: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if err := q.writeTo(ctx, func(*HostFrame) error { return nil }); err != broken {
		t.Errorf("ended ctx: %v", err)
	}
}

// The codec is gRPC's own on the wire, at any size.
func TestCodec(t *testing.T) {
	c := newCodec()
	for _, size := range []int{0, 1, 1000, 40 << 10, 3 << 20} {
		sent := &HostFrame{Deliver: []*Delivery{{Delivery: 1, Event: &Delivery_Upstream{Upstream: &Upstream{Raw: bytes.Repeat([]byte("x"), size)}}}}}
		for range 2 { // the second time in a used buffer
			ours, err := c.Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := c.(codec).rest.Marshal(sent)
			if err != nil || !bytes.Equal(ours.Materialize(), theirs.Materialize()) {
				t.Errorf("size %d: not gRPC's bytes (%v)", size, err)
			}
			var got HostFrame
			if err := c.Unmarshal(ours, &got); err != nil || len(got.Deliver[0].GetUpstream().GetRaw()) != size {
				t.Errorf("size %d: %v", size, err)
			}
			ours.Free()
		}
	}
	if _, err := c.Marshal("no message"); err == nil {
		t.Error("marshalled a string")
	}
	if _, err := c.Marshal(&HostFrame{LogLevel: "\xff"}); err == nil {
		t.Error("marshalled bad UTF-8")
	}
}

// TestThrottle: who does not read is not read. // P10
func TestThrottle(t *testing.T) {
	q := newQueue(mergeHost, cutHost, weighHost)
	q.put(&HostFrame{Reply: []*Reply{{Value: make([]byte, 1000)}, {Value: make([]byte, 1000)}}})
	q.throttle(t.Context(), 1<<20) // room enough
	went := make(chan struct{})
	go func() {
		q.throttle(t.Context(), 100)
		close(went)
	}()
	select {
	case <-went:
		t.Fatal("throttle let go with 2,000 bytes queued")
	default:
	}
	for f, _ := q.next(); f != nil; f, _ = q.next() {
	}
	<-went
	if q.weight != 0 {
		t.Errorf("an empty queue weighs %d", q.weight)
	}
	q.put(&HostFrame{Reply: []*Reply{{Value: make([]byte, 1000)}}})
	q.close()
	q.throttle(t.Context(), 100) // the end lets go
}
