package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"balhost/host/internal/scrape"
)

// meterConfig has a gateway, whose certificate expires soon, and the plugin meter.
const meterConfig = `
data_dir = "data"
admin { listen = "%s" }
session "main" {
  sender_id = "1"
  gateway {
    listen = "%s"
    tls {
      cert_file = "tls.crt"
      key_file  = "tls.key"
    }
    trusted_proxies = ["127.0.0.1"]
    auth "static" { token = "right" }
  }
}
plugin "meter" {
  config  = { fail = %v }
  probation = "0s" # with one, a Run that fails at once keeps the content unproven, and a death brings the old one back
  restart_backoff {
    min = "100ms"
    max = "4s"
  }
}
`

// watched is a real host that is scraped.
type watched struct {
	*testing.T
	dir, admin, gateway string
	story               scrape.Story
	host                *process
}

// scrape reads /metrics.
func (w *watched) scrape() map[string]*dto.MetricFamily {
	w.Helper()
	r, err := http.Get("http://" + w.admin + "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	defer r.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(r.Body)
	if err != nil {
		w.Fatal(err)
	}
	return families
}

// value is that of a series with these labels' values, in the order of their names.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, m := range families[name].GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetValue())
		}
		if strings.Join(has, ",") == strings.Join(labels, ",") {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

// until waits for a series to have at least this value, and gives that scrape to the story.
func (w *watched) until(least float64, name string, labels ...string) {
	w.Helper()
	w.becomes(func(v float64) bool { return v >= least }, name, labels...)
}

// becomes waits for a series to have such a value, and gives that scrape to the story.
func (w *watched) becomes(right func(float64) bool, name string, labels ...string) {
	w.Helper()
	var last map[string]*dto.MetricFamily
	if !eventually(func() bool {
		last = w.scrape()
		v, has := value(last, name, labels...)
		return has && right(v)
	}) {
		w.Fatalf("%s of %q does not become right: %v\n%s", name, labels, last[name], w.host.tail())
	}
	var all []*dto.MetricFamily
	for _, f := range last {
		all = append(all, f)
	}
	w.story.Add(all)
}

func (w *watched) configure(fail bool) {
	w.Helper()
	write(w.T, filepath.Join(w.dir, "config.hcl"), fmt.Sprintf(meterConfig, w.admin, w.gateway, fail), 0o600)
}

// pid is that of the plugin's process.
func (w *watched) pid() int {
	w.Helper()
	out, err := exec.Command("balhost", "plugins", "--json", "-c", filepath.Join(w.dir, "config.hcl")).Output()
	if err != nil {
		w.Fatal(err)
	}
	_, text, _ := strings.Cut(string(out), `"pid":`)
	pid := 0
	if _, err := fmt.Sscan(strings.TrimLeft(text, " "), &pid); err != nil {
		return 0
	}
	return pid
}

// A plugin's own metrics come through a real host with its name, and go with it. The alerts
// about plugins' processes and about gateways fire when such a host has their troubles.
func TestMeter(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	t.Parallel()
	w := &watched{T: t, dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(w.dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, at := range []*string{&w.admin, &w.gateway} {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		*at = address
	}
	file := filepath.Join(w.dir, "plugins", "meter")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/meter").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	certificateIn(t, w.dir, "tls", time.Now().Add(30*24*time.Hour))
	w.configure(false)
	p, err := startProcess(w.dir, "host.log", nil, "run")
	if err != nil {
		t.Fatal(err)
	}
	w.host = p
	t.Cleanup(p.kill)
	if !eventually(func() bool { _, err := http.Get("http://" + w.admin + "/livez"); return err == nil }) {
		t.Fatal(p.output())
	}
	w.until(3, "rooms", "open", "meter")
	w.until(1, "balhost_plugin_metrics_series", "meter")
	if v, _ := value(w.scrape(), "balhost_plugin_metrics_failed", "meter"); v != 0 {
		t.Error("its metrics count as failed")
	}
	w.story.Hold(20 * time.Minute)
	w.story.Silent("BalhostDiskFillsUp") // which the machine of the test may have

	// Wrong credentials, and a certificate that ends soon.
	certificateIn(t, w.dir, "tls", time.Now().Add(3*24*time.Hour))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it is this test's own host
	defer client.CloseIdleConnections()
	for n := range 60 {
		r, err := http.NewRequest(http.MethodPost, "https://"+w.gateway+"/v1/upstream", strings.NewReader(`{"message_id":"m1","from":"anna","data":{"n":"1"}}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer wrong")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", fmt.Sprint("192.0.2.", n)) // an address of its own: each has few tries a minute
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != http.StatusUnauthorized {
			t.Fatal(a.Status)
		}
	}
	w.until(60, "balhost_gateway_denied_total", "main")
	w.story.Fires("BalhostGatewayDenied")

	// Metrics and Run fail.
	w.configure(true)
	if out, err := exec.Command("balhost", "reload", "-c", filepath.Join(w.dir, "config.hcl")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.until(1, "balhost_plugin_metrics_failed", "meter")
	w.until(1, "balhost_plugin_run_failures_total", "meter")
	w.until(3, "balhost_plugin_run_failures_total", "meter")
	w.story.Hold(11 * time.Minute)
	w.story.Fires("BalhostPluginMetrics")
	w.story.Fires("BalhostRunFails")
	w.story.Fires("BalhostCertificateExpires")
	if _, has := value(w.scrape(), "rooms", "open", "meter"); has {
		t.Error("metrics that failed are told")
	}
	if out, _ := exec.Command("balhost", "plugins", "-c", filepath.Join(w.dir, "config.hcl")).Output(); !strings.Contains(string(out), "the meter is broken") {
		t.Errorf("balhost plugins does not say why:\n%s", out)
	}

	// Its process dies again and again.
	for n := 1; n <= 4; n++ {
		if !eventually(func() bool { pid := w.pid(); return pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil }) {
			t.Fatal("no process")
		}
		w.until(float64(n), "balhost_plugin_restarts_total", "meter")
	}
	w.story.Fires("BalhostPluginRestarts")

	w.becomes(func(down float64) bool { // while it waits to be started again
		if pid := w.pid(); pid != 0 && down == 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return down == 1
	}, "balhost_plugin_down", "meter")
	w.story.Hold(2 * time.Minute)
	w.story.Fires("BalhostPluginDown")

	// Its new content can't run.
	write(t, file+".next", "#!/bin/sh\nexit 3\n", 0o700)
	if err := os.Rename(file+".next", file); err != nil {
		t.Fatal(err)
	}
	w.until(1, "balhost_plugin_refused", "meter")
	w.story.Hold(6 * time.Minute)
	w.story.Fires("BalhostPluginRefused")

	// Its file is removed.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool {
		f := w.scrape()
		_, up := value(f, "balhost_plugin_up", "meter")
		_, own := value(f, "balhost_plugin_metrics_failed", "meter")
		_, restarts := value(f, "balhost_plugin_restarts_total", "meter")
		return !up && !own && !restarts
	}) {
		t.Error("a plugin that is gone has series")
	}
	promtool(t)
	if err := scrape.Judge(monitoring+"rules.yml", t.TempDir(), map[string]*scrape.Story{"meter": &w.story}); err != nil {
		t.Error(err)
	}
}
