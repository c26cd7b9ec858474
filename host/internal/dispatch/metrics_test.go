package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// histogram gives the count and the sum of the only one with a name.
func (b *bench) histogram(r *prometheus.Registry, name string) (count uint64, sum float64) {
	b.Helper()
	families, err := r.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	b.Fatalf("no %s", name)
	return 0, 0
}

// TestHowLongLanesWait: from when an event is due and the lane is free, not from
// when it came; and how long a plugin has it.
func TestHowLongLanesWait(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		r := prometheus.NewRegistry()
		r.MustRegister(b.d.metrics.waits, b.d.metrics.handlings)
		b.d.Booted()
		want := func(count uint64, waited, handled float64) {
			b.Helper()
			synctest.Wait()
			if n, sum := b.histogram(r, "balhost_dispatch_wait_seconds"); n != count || sum != waited {
				t.Errorf("%d waits of %v s in all, want %d of %v", n, sum, count, waited)
			}
			if _, sum := b.histogram(r, "balhost_dispatch_handling_seconds"); sum != handled {
				t.Errorf("handled for %v s in all, want %v", sum, handled)
			}
		}
		p := b.echo(nil)
		b.upstreams("anna", "1", "2")
		want(1, 0, 0)
		time.Sleep(3 * time.Second)
		if err := b.d.Pause(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		p.done(p.last())
		want(1, 0, 3) // the second one's lane was not free before
		time.Sleep(5 * time.Second)
		if err := b.d.Resume(b.Context(), "echo"); err != nil {
			t.Fatal(err)
		}
		want(2, 5, 3)
	})
}

// TestRemovedPluginHasNoSeries: they go with its file, and come back with it.
func TestRemovedPluginHasNoSeries(t *testing.T) {
	start(t, newLedger(), func(b *bench) {
		r := prometheus.NewRegistry()
		r.MustRegister(b.d.metrics.waits, b.d.metrics.handlings, b.d.metrics.ends, b.d.metrics.stucks)
		b.d.Booted()
		series := func() (n int) {
			b.Helper()
			synctest.Wait()
			families, err := r.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				n += len(f.GetMetric())
			}
			return n
		}
		for range 2 {
			p := b.echo(nil)
			b.upstreams("anna", "1")
			synctest.Wait()
			p.done(p.last())
			if n := series(); n != 4 {
				t.Errorf("%d series, want 4", n)
			}
			p.plugin.Gone("its file was removed")
			b.d.Removed("echo")
			if n := series(); n != 0 {
				t.Errorf("%d series are left", n)
			}
		}
	})
}
