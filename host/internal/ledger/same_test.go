package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// twin is one of two ledgers that are asked the same.
type twin struct {
	*gatekeeper
	frames [][]byte
}

func newTwin(t *testing.T, stamps func() stamp) *twin {
	w := &twin{gatekeeper: &gatekeeper{}}
	w.l = open(t, t.TempDir(), w.options, func(o *Options) { o.Light = true })
	durable := w.l.append
	w.l.append = func(commit uint64, frame []byte) error {
		w.frames = append(w.frames, bytes.Clone(frame))
		return durable(commit, frame)
	}
	w.l.stamp = stamps
	return w
}

// The same operations with the same stamps make the same commits, byte for byte:
// nothing that a rule decides hangs on a clock, on chance, or on what this process
// has in memory.
func TestSameOperationsSameCommits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moment := time.UnixMilli(1_700_000_000_000)
		var now stamp
		stamps := func() stamp { return now }
		a, b := newTwin(t, stamps), newTwin(t, stamps)
		if rapid.Bool().Draw(rt, "one without memory") {
			b.l.events.limit, b.l.sent.limit = 1, 1
		}
		n := 0
		for range rapid.IntRange(1, 12).Draw(rt, "batches") {
			moment = moment.Add(time.Duration(rapid.IntRange(0, 5000).Draw(rt, "ms")) * time.Millisecond)
			now = stamp{now: moment, real: moment, forget: uint64(moment.Unix()) + 1000, full: rapid.IntRange(0, 9).Draw(rt, "full") == 0}
			copy(now.entropy[:], rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(rt, "entropy"))
			events, downs := a.l.Events(0, 20), a.l.Downstreams(0, 20)
			var makes []func(l *Ledger) op
			for range rapid.IntRange(1, 8).Draw(rt, "operations") {
				n++
				makes = append(makes, drawOp(rt, n, moment, events, downs))
			}
			errs := func(w *twin) (out []string) {
				var ops []op
				for _, f := range makes {
					ops = append(ops, f(w.l))
				}
				for _, err := range w.batchOf(ops...) {
					out = append(out, fmt.Sprint(err))
				}
				return out
			}
			if x, y := errs(a), errs(b); fmt.Sprint(x) != fmt.Sprint(y) {
				rt.Fatalf("they are told %q and %q", x, y)
			}
		}
		if len(a.frames) != len(b.frames) {
			rt.Fatalf("%d commits and %d", len(a.frames), len(b.frames))
		}
		for i := range a.frames {
			if !bytes.Equal(a.frames[i], b.frames[i]) {
				rt.Fatalf("commit %d: %q and %q", i, a.frames[i], b.frames[i])
			}
		}
		verify(t, a.l)
		verify(t, b.l)
		a.l.Close() //nolint:errcheck // opened anew below
		b.l.Close() //nolint:errcheck // as above
	})
}

// drawOp makes an operation that two ledgers can be asked: each gets its own.
func drawOp(rt *rapid.T, n int, now time.Time, events []entry.Event, downs []entry.Downstream) func(*Ledger) op {
	device, data := fmt.Sprint("tok", n%5), fmt.Sprintf(`{"n":%d}`, rapid.IntRange(0, 3).Draw(rt, "data"))
	changes := func() entry.Changes {
		return entry.Changes{
			Sends:  []entry.Send{send(fmt.Sprint("d-", n), `{"a":"b"}`)},
			Writes: []entry.Write{{Key: fmt.Sprint("k", n%3), Value: json.RawMessage(fmt.Sprint(n))}},
		}
	}
	switch kind := rapid.IntRange(0, 7).Draw(rt, "kind"); {
	case kind == 0 && len(events) > 0:
		ev, verdict := rapid.SampledFrom(events).Draw(rt, "event"), rapid.SampledFrom([]entry.Verdict{entry.Done, entry.Retry, entry.Dead}).Draw(rt, "verdict")
		return func(l *Ledger) op {
			s := entry.Settlement{Seq: ev.Seq, Verdict: verdict, Plugin: "p", Reason: "because", Due: now.Add(time.Minute)}
			if verdict == entry.Done {
				s.Changes = changes()
			}
			return &settle{Settlement: s, l: l}
		}
	case kind == 1 && len(downs) > 0:
		d := rapid.SampledFrom(downs).Draw(rt, "downstream")
		return func(l *Ledger) op { return &finish{entry.End{Seq: d.Seq, Status: message.Acked, Attempts: 1}, l} }
	case kind == 2 && len(downs) > 0:
		d := rapid.SampledFrom(downs).Draw(rt, "downstream")
		return func(*Ledger) op {
			return &postpone{entry.Postponement{Seq: d.Seq, Due: now.Add(time.Second), Attempts: 3, Tried: entry.Attempt{Number: 3, Began: now, Took: time.Second, Via: "ccs", Code: "BUSY", Error: "busy"}}}
		}
	case kind == 3:
		return func(l *Ledger) op { return &update{plugin: "p", changes: changes(), l: l} }
	case kind == 4:
		return func(*Ledger) op { return &squeeze{kind: kindEvent, before: 1 << 60} }
	case kind == 5:
		return func(*Ledger) op { return &setOwner{"com.example.app", fmt.Sprint("p", n%2)} }
	default:
		u := upstream(device, fmt.Sprint(n%20), data)
		return func(*Ledger) op {
			own := *u
			return &acceptOp{upstream: &own, sum: sumUpstream(u, "", false), size: len(u.Raw)}
		}
	}
}
