package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// A plugin's own metrics come through a real host, whatever language it is written in, and
// a plugin without metrics is not asked.
func TestLanguageMetrics(t *testing.T) {
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			chatroom, echo := needsExample(t, language, "chatroom"), needsExample(t, language, "echo")
			t.Parallel()
			w := &watched{T: t, dir: t.TempDir()}
			plugins := filepath.Join(w.dir, "plugins")
			if err := os.Mkdir(plugins, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, folder := range []string{chatroom, echo} {
				if err := os.Rename(folder, filepath.Join(plugins, filepath.Base(folder))); err != nil {
					t.Fatal(err)
				}
			}
			for _, at := range []*string{&w.admin, &w.gateway} {
				address, err := freeAddress()
				if err != nil {
					t.Fatal(err)
				}
				*at = address
			}
			write(t, filepath.Join(w.dir, "config.hcl"), fmt.Sprintf(`
data_dir = "data"
admin { listen = %q }
session "main" {
  sender_id = "1"
  gateway {
    listen = %q
    auth "static" { token = "right" }
  }
}
`, w.admin, w.gateway), 0o600)
			p, err := startProcess(w.dir, "host.log", nil, "run")
			if err != nil {
				t.Fatal(err)
			}
			w.host = p
			t.Cleanup(p.kill)
			if !eventually(func() bool { _, err := http.Get("http://" + w.admin + "/livez"); return err == nil }) {
				t.Fatal(p.output())
			}
			w.until(4, "balhost_plugin_metrics_series", "chatroom")
			for _, status := range []string{"acked", "failed", "expired", "canceled"} {
				w.until(0, "chatroom_outcomes_total", "chatroom", status)
			}
			w.until(1, "balhost_plugin_up", "echo")
			last := w.scrape()
			if failed, has := value(last, "balhost_plugin_metrics_failed", "chatroom"); !has || failed != 0 {
				t.Errorf("the metrics of chatroom count as failed: %v, %v", failed, has)
			}
			if _, has := value(last, "balhost_plugin_metrics_failed", "echo"); has {
				t.Error("echo has no metrics, and was asked")
			}
		})
	}
}
