package hosttest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"balhost/sdk/wire"
)

// gauge is the value of a metric with this label's value, and whether there is one.
func gauge(t *testing.T, h *Host, name, label string) (float64, bool) {
	t.Helper()
	families, err := h.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue(), true
			}
		}
	}
	return 0, false
}

// Every queue has its length and the age of its oldest in the metrics, by plugin and by
// session, and what can do nothing any more has no series.
func TestGaugesOfQueues(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := simple(t, dir, &Plugin{
			Name: "slow", Categories: []string{"com.example"}, Order: "device",
			Handle: func(_ context.Context, _ *Process, d *wire.Delivery) *wire.Result {
				if d.GetAttempt() > 1 {
					return &wire.Result{Code: wire.Result_DONE}
				}
				return &wire.Result{Code: wire.Result_RETRY, DelayMs: time.Hour.Milliseconds(), Error: "not now"}
			},
		})
		o.Answers = true
		h, err := Start(o)
		if err != nil {
			t.Fatal(err)
		}
		want := func(name, label string, value float64) {
			t.Helper()
			if got, has := gauge(t, h, name, label); !has || got < value || got > value+5 {
				t.Errorf("%s of %q is %v (%v), want %v", name, label, got, has, value)
			}
		}
		time.Sleep(5 * time.Second)
		want("balhost_ready", "", 1)
		want("balhost_session_ready", "main", 1)
		want("balhost_session_window", "main", 100)
		want("balhost_outbox_session_pending", "main", 0)
		want("balhost_outbox_session_oldest_seconds", "main", 0)
		if _, has := gauge(t, h, "balhost_dispatch_pending", "slow"); has {
			t.Error("a plugin that is gone and has nothing pending has a series")
		}
		o.Server.Upstream("device", "com.example", nil)
		o.Server.Upstream("device", "com.unknown", nil)
		time.Sleep(10 * time.Minute)
		want("balhost_dispatch_pending", "slow", 1)
		want("balhost_dispatch_retrying", "slow", 1)
		want("balhost_dispatch_inflight", "slow", 0)
		want("balhost_dispatch_oldest_seconds", "slow", 600)
		want("balhost_dispatch_unclaimed", "", 1)
		want("balhost_dispatch_unclaimed_seconds", "", 600)
		if err := h.Dispatch.Pause(t.Context(), "slow"); err != nil {
			t.Error(err)
		}
		want("balhost_dispatch_paused", "slow", 1)
		if err := h.Dispatch.Resume(t.Context(), "slow"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if _, has := gauge(t, h, "balhost_dispatch_pending", "slow"); has {
			t.Error("its series stays")
		}
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		o.Server.Close()
	})
}
