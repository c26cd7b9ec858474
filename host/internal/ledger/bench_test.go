package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// BenchmarkUpstream is an upstream's whole way through the ledger: Accept, hand
// out, Settle; with as many unacked as one connection has, and more.
func BenchmarkUpstream(b *testing.B) {
	for _, window := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("window=", window), func(b *testing.B) { benchWay(b, window, false) })
	}
}

// BenchmarkEcho is the same with an answer that is sent, acked and told.
func BenchmarkEcho(b *testing.B) { benchWay(b, 100, true) }

func benchWay(b *testing.B, window int, echo bool) {
	l := open(b, b.TempDir())
	token, data := strings.Repeat("t", 152), json.RawMessage(fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 60)))
	all := make([]*message.Upstream, b.N)
	for i := range all {
		all[i] = upstream(token, fmt.Sprint(i), string(data))
	}
	want := int64(b.N)
	if echo {
		want *= 2
	}
	var settled atomic.Int64
	ended := make(chan struct{})
	check := func(err error) {
		if err != nil {
			b.Error(err)
		}
	}
	go dispatch(l, want, func(ev entry.Event) {
		body, err := l.Body(ev.Seq)
		check(err)
		s := entry.Settlement{Seq: ev.Seq, Lease: 1, Verdict: entry.Done, Plugin: "echo"}
		if u := body.Upstream; u != nil && echo {
			s.Changes.Sends = []entry.Send{{Tell: true, Message: message.Checked{
				To: message.Token(u.From), Data: data, MessageID: u.ID, Session: u.Session,
			}}}
		}
		l.Settle(s, func(err error) {
			check(err)
			if settled.Add(1) == want {
				close(ended)
			}
		})
	})
	if echo {
		go answer(l, int64(b.N), check)
	}
	slots := make(chan struct{}, window)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	for _, u := range all {
		slots <- struct{}{}
		l.Accept(entry.Inbound{Upstream: u}, func(err error) { check(err); <-slots })
	}
	<-ended
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N), "cpu-us/msg")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// dispatch hands out n events as they come.
func dispatch(l *Ledger, n int64, handle func(entry.Event)) {
	for after := uint64(0); n > 0; {
		more := l.EventsChanged()
		events := l.Events(after, 256)
		for _, ev := range events {
			after = ev.Seq
			l.Lease(ev.Seq, 1)
			handle(ev)
			n--
		}
		if len(events) == 0 {
			<-more
		}
	}
}

// answer acks n downstreams as they come.
func answer(l *Ledger, n int64, check func(error)) {
	for after := uint64(0); n > 0; {
		more := l.DownstreamsChanged()
		downs := l.Downstreams(after, 256)
		for _, d := range downs {
			after = d.Seq
			_, err := l.Downstream(d.Seq)
			check(err)
			l.Finish(entry.End{Seq: d.Seq, Status: message.Acked, Attempts: 1}, check)
			n--
		}
		if len(downs) == 0 {
			<-more
		}
	}
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
