package ccs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/ccssim"

	"github.com/prometheus/client_golang/prometheus"
)

// What an operator sees of a session: what its connections do, what is in their
// windows, and how long acks and answers take.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := ccssim.Options{AckDelay: ccssim.Range{Min: 30 * time.Millisecond}}
	simulate(t, o, func(o *Options) { o.Metrics, o.Connections = reg, 2 }, func(w *world) {
		w.until("both", func(c ccssim.Counts) bool { return c.Logins == 2 })
		check := func(when string, want map[string]float64) {
			t.Helper()
			synctest.Wait()
			got := gathered(t, reg)
			for name, n := range want {
				if got[name] != n {
					t.Errorf("%s: %s is %v, want %v", when, name, got[name], n)
				}
			}
		}
		check("idle", map[string]float64{"balhost_ccs_state ready": 2, "balhost_ccs_state draining": 0, "balhost_ccs_inflight": 0, "balhost_ccs_unacked": 0})

		w.srv.Nack(ccssim.Nack{Count: 1, Code: "DEVICE_UNREGISTERED", Token: "gone"})
		w.outbox.send(1, 1, "gone")
		w.outbox.send(2, 9, "tokA")
		w.until("answers", func(c ccssim.Counts) bool { return c.AckedDown == 9 && c.Nacked == 1 })
		w.inbox.set(func(b *inbox) { b.hold = true })
		for range 4 {
			w.srv.Upstream("tokA", "app", nil)
		}
		w.srv.Inject("<odd xmlns='urn:x'/>")
		w.srv.Nack(ccssim.Nack{Count: 3})
		w.outbox.send(11, 3, "tokA")
		time.Sleep(3 * time.Second)
		check("waiting", map[string]float64{"balhost_ccs_inflight": 3, "balhost_ccs_unacked": 4, "balhost_ccs_ack_seconds count": 0})
		w.inbox.release()
		w.until("acks", func(c ccssim.Counts) bool { return c.Acked == 4 })
		w.srv.DrainWith(ccssim.Drain{Conn: 1, Grace: graceful})
		w.until("replacement", func(c ccssim.Counts) bool { return c.Logins == 3 })
		check("after all", map[string]float64{
			"balhost_ccs_state ready": 2, "balhost_ccs_state draining": 1, "balhost_ccs_unacked": 0,
			"balhost_ccs_ack_seconds count": 4, "balhost_ccs_ack_seconds sum": 12, "balhost_ccs_ack_seconds to 2.5": 0, "balhost_ccs_ack_seconds to 10": 4,
			"balhost_ccs_answer_seconds count": 10, "balhost_ccs_answer_seconds to 0.02": 0, "balhost_ccs_answer_seconds to 0.05": 10,
			"balhost_ccs_upstreams_total": 4, "balhost_ccs_upstreams_acked_total": 4, "balhost_ccs_downstreams_total": 13,
			"balhost_ccs_answers_total ack": 9, "balhost_ccs_answers_total nack": 1, "balhost_ccs_odd_total " + unknownStanza.String(): 2,
		})
		if n := strings.Count(w.log.String(), "acks are slow"); n != 1 {
			t.Errorf("slow acks are said %d times, want 1", n)
		}
	})
}

// gathered are the values of all metrics, by name and by the label beside the session's.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name, session := f.GetName(), ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "session" {
					session = l.GetValue()
				} else {
					name += " " + l.GetValue()
				}
			}
			if session != "main" {
				t.Errorf("%s of session %q", name, session)
			}
			h := m.GetHistogram()
			for _, b := range h.GetBucket() {
				all[fmt.Sprintf("%s to %v", name, b.GetUpperBound())] = float64(b.GetCumulativeCount())
			}
			if h != nil {
				all[name+" count"], all[name+" sum"] = float64(h.GetSampleCount()), float64(int(h.GetSampleSum()))
			}
			all[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}
