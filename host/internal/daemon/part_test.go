package daemon

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// P10: a part that is stuck is named, costs one goroutine however often it is
// asked, and is heard again when it answers.
func TestStuckPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParts().outbox
		release := make(chan struct{})
		var asked atomic.Int64
		question := func() int64 {
			n := asked.Add(1)
			<-release
			return n
		}
		for range 5 {
			began := time.Now()
			if _, err := ask(p, answerTime, question); err == nil || !strings.Contains(err.Error(), "outbox does not answer within 2s") || time.Since(began) != answerTime {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("a stuck part was asked %d times", n)
		}
		close(release)
		if n, err := ask(p, answerTime, question); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A scrape tells of the parts that answer, and which ones don't.
func TestScrapeBesideAStuckPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := newParts(), make(chan struct{})
		gauge := func(part *part, name string, value func() float64) {
			part.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name}, value))
		}
		gauge(p.outbox, "of_outbox", func() float64 { <-release; return 1 })
		gauge(p.ledger, "of_ledger", func() float64 { return 1 })
		scrape := func() map[string]bool {
			families, err := p.Gather()
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, f := range families {
				found[f.GetName()] = true
				for _, m := range f.GetMetric() {
					if f.GetName() == "balhost_part_silent" && m.GetGauge().GetValue() == 1 {
						found["silent "+m.GetLabel()[0].GetValue()] = true
					}
				}
			}
			return found
		}
		if got := scrape(); got["of_outbox"] || !got["of_ledger"] || !got["silent outbox"] || got["silent ledger"] {
			t.Errorf("beside a stuck part: %v", got)
		}
		close(release)
		synctest.Wait()
		if got := scrape(); !got["of_outbox"] || !got["of_ledger"] || got["silent outbox"] {
			t.Errorf("when it answers again: %v", got)
		}
	})
}

// SIGTERM, or a part that failed, ends the host within a bound.
func TestStopInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hangs := range []bool{true, false} {
			ctx, cancel := context.WithCancel(t.Context())
			var called atomic.Bool
			ended := stopInTime(ctx, func() { called.Store(true) })
			time.Sleep(time.Hour)
			if called.Load() {
				t.Error("ended without having been told to stop")
			}
			cancel()
			time.Sleep(StopLimit - time.Second)
			if !hangs {
				ended()
			}
			time.Sleep(2 * time.Second)
			if called.Load() != hangs {
				t.Errorf("hangs %v, but ended by force: %v", hangs, called.Load())
			}
			if hangs {
				ended()
			}
		}
	})
}
