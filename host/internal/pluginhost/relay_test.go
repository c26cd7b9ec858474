package pluginhost

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"balhost/sdk"
	"balhost/sdk/plugintest"
	"balhost/sdk/wire"

	"github.com/hashicorp/go-hclog"
	dto "github.com/prometheus/client_model/go"
)

// answerOf is what the host takes of a plugin that writes this.
func answerOf(t *testing.T, ctx context.Context, name, text string) own {
	t.Helper()
	client, stop, err := plugintest.Connect(sdk.Plugin{Name: name, Categories: []string{"app"},
		Upstream: func(context.Context, *sdk.Tx, sdk.Upstream) error { return nil },
		Metrics: func(ctx context.Context, w io.Writer) error {
			if text == "hang" {
				<-ctx.Done()
			}
			_, err := io.WriteString(w, text)
			return err
		}}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	a := own{name: name}
	a.ask(ctx, client)
	return a
}

// Metrics of plugins' own get the label plugin. What is no metric, has a name of the host's,
// is too much, or contradicts itself or others is refused, all of the plugin's at once, and
// the reason names the metric.
func TestOwnMetrics(t *testing.T) { // P10
	a := answerOf(t, t.Context(), "chat", "# HELP rooms Rooms.\n# TYPE rooms gauge\nrooms{kind=\"open\"} 3\nrooms{kind=\"shut\"} 1 1700000000000\n# TYPE took histogram\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 2\ntook_sum 1\ntook_count 2\n")
	if a.err != nil || a.series != 6 {
		t.Fatalf("%d series, %v", a.series, a.err)
	}
	for _, m := range a.families["rooms"].GetMetric() {
		if l := m.GetLabel(); len(l) != 2 || l[1].GetName() != "plugin" || l[1].GetValue() != "chat" || m.TimestampMs != nil {
			t.Errorf("%v", m)
		}
	}
	many := strings.Builder{}
	for i := range maxSeries + 1 {
		fmt.Fprintf(&many, "rooms{n=\"%d\"} 1\n", i)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for text, says := range map[string]string{
		"rooms three\n":                        "expected float",
		"balhost_ready 1\n":                    "balhost_ready has a name of the host's",
		"go_goroutines 1\n":                    "go_goroutines has a name of the host's",
		"process_start 1\n":                    "process_start has a name of the host's",
		"up 1\n":                               "up has a name of series that Prometheus makes itself",
		"scrape_duration_seconds 1\n":          "scrape_duration_seconds has a name of series that Prometheus makes itself",
		"ALERTS{alertstate=\"firing\"} 1\n":    "ALERTS has a name of series that Prometheus makes itself",
		"rooms{plugin=\"other\"} 1\n":          "rooms has a label plugin",
		"rooms{a=\"1\"} 1\nrooms{a=\"1\"} 2\n": "there twice",
		many.String():                          "2001 series; 2000 are taken",
		"# HELP rooms \xff\nrooms 1\n":         "HELP of its metric rooms is not UTF-8",
		"up 1\nrooms{" + strings.Repeat(`a="",`, 1000) + "} 1\n": "line 2 of its metrics has 5010 bytes; 4096 are taken",
	} {
		if a := answerOf(t, t.Context(), "chat", text); a.err == nil || !strings.Contains(a.err.Error(), says) || a.families != nil {
			t.Errorf("%.40q: %v", text, a.err)
		}
	}
	if a := answerOf(t, over, "chat", "hang"); a.err == nil || !strings.Contains(a.err.Error(), "did not answer within 1s") {
		t.Errorf("hang: %v", a.err)
	}

	all := map[string]*dto.MetricFamily{}
	other, odd := answerOf(t, t.Context(), "quiz", "# TYPE rooms gauge\nrooms 1\n"), answerOf(t, t.Context(), "odd", "# TYPE rooms counter\nrooms 1\n# TYPE mine gauge\nmine 1\n")
	if err := a.join(all); err != nil {
		t.Error(err)
	}
	if err := other.join(all); err != nil || len(all["rooms"].GetMetric()) != 3 {
		t.Errorf("%v, %v", err, all["rooms"])
	}
	if err := odd.join(all); err == nil || !strings.Contains(err.Error(), "rooms is a counter") || all["mine"] != nil || odd.series != 0 {
		t.Errorf("%v", err)
	}
}

// Only a process that takes events is asked: in its Start it may not have read its config.
func TestMetricsAfterStart(t *testing.T) {
	s := &supervisor{shown: &life{manifest: &wire.Manifest{Capabilities: []string{wire.Metrics}}, rpc: new(wire.Client)}}
	for _, state := range []State{Starting, Running, Backoff} {
		s.status.State, s.status.PID, s.status.MetricsError = state, 1, "as before"
		if asked := s.measured() != nil; asked != (state == Running) || asked != (s.status.MetricsError != "") {
			t.Errorf("%s: asked %v, %q", state, asked, s.status.MetricsError)
		}
	}
	s.shown.manifest.Capabilities = nil
	s.status.State = Running
	if s.measured() != nil {
		t.Error("one without metrics is asked")
	}
}
