package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"balhost/host/internal/entry"
)

// BenchmarkDeep settles a backlog of 1,000 devices that sent 20 messages at a time, as a
// plugin does which comes after an outage: each device's oldest in turn, 256 at a time.
// So the entries of one page are needed at very different times.
func BenchmarkDeep(b *testing.B) {
	const devices, burst = 1000, 20
	bursts := max(1, b.N/(devices*burst))
	dir := b.TempDir()
	l := open(b, dir)
	fillUp(b, l, devices, burst, bursts)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	l = open(b, dir)
	lanes := map[uint64][]entry.Event{}
	for after, some := uint64(0), l.Events(0, 4096); len(some) > 0; some = l.Events(after, 4096) {
		for _, ev := range some {
			lanes[ev.Device], after = append(lanes[ev.Device], ev), ev.Seq
		}
	}
	heads := make([][]entry.Event, 0, devices)
	for _, lane := range lanes {
		heads = append(heads, lane)
	}
	slices.SortFunc(heads, func(a, b []entry.Event) int { return int(a[0].Seq) - int(b[0].Seq) })
	n := devices * burst * bursts
	free, ended, left := make(chan []entry.Event, devices), make(chan struct{}), atomic.Int64{}
	left.Store(int64(n))
	for _, lane := range heads {
		free <- lane
	}
	slots := make(chan struct{}, 256)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	for range n {
		slots <- struct{}{}
		lane := <-free
		seq := lane[0].Seq
		if _, err := l.Body(seq); err != nil {
			b.Fatal(err)
		}
		l.Lease(seq, 1)
		l.Settle(entry.Settlement{Seq: seq, Lease: 1, Verdict: entry.Done, Plugin: "echo"}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
			if len(lane) > 1 {
				free <- lane[1:]
			}
			if left.Add(-1) == 0 {
				close(ended)
			}
		})
	}
	<-ended
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(n), "cpu-us/msg")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msg/s")
}

// fillUp stores bursts of each device in turn.
func fillUp(b *testing.B, l *Ledger, devices, burst, bursts int) {
	data := json.RawMessage(fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 60)))
	slots := make(chan struct{}, 1000)
	for i := range bursts {
		for d := range devices {
			for k := range burst {
				slots <- struct{}{}
				u := upstream(fmt.Sprintf("%0152d", d), fmt.Sprint(i*burst+k), string(data))
				l.Accept(entry.Inbound{Upstream: u}, func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
				})
			}
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
