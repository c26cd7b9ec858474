package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/scrape"
)

// alertsConfig has a gateway with few seats, and a plugin that logs very much for each
// upstream.
const alertsConfig = `
data_dir = "data"
admin { listen = "127.0.0.1:0" }
session "main" {
  sender_id = "1"
  gateway {
    listen          = "unix:%s"
    max_connections = 20
    rate            = %d
    auth "static" { token = "right" }
  }
}
plugin "scribe" {
  config = { flood = true }
}
ledger {
  disk_soft = "64MiB"
  disk_hard = "16MiB"
  ballast   = "0B"
  inodes    = 100
}
`

// The alerts about a gateway's address and its connections, and about the log, fire when a
// real host has their troubles, and not before.
func TestAlertsOfProcesses(t *testing.T) {
	t.Parallel()
	w := &watched{T: t, dir: t.TempDir()}
	scribe, err := os.ReadFile(filepath.Join(builtPlugins(t), "scribe"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "plugins", "scribe"), string(scribe), 0o700)
	w.gateway = filepath.Join(w.dir, "run", "gateway.sock")
	configure := func(rate int) {
		write(t, filepath.Join(w.dir, "config.hcl"), fmt.Sprintf(alertsConfig, w.gateway, rate), 0o600)
	}
	configure(100_000)
	if err := os.Mkdir(filepath.Dir(w.gateway), 0o700); err != nil {
		t.Fatal(err)
	}
	w.unread()
	w.until(1, "balhost_ready")
	w.until(1, "balhost_plugin_up", "scribe")
	w.until(1, "balhost_gateway_listening", "main")
	w.story.Hold(20 * time.Minute)
	w.story.Silent("BalhostDiskFillsUp") // which the machine of the test may have

	// 19 of 20 connections are open.
	var devices []*http.Client
	for range 19 {
		d := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { // a connection of its own
			return new(net.Dialer).DialContext(ctx, "unix", w.gateway)
		}}}
		devices = append(devices, d)
		w.say(d, "m0")
	}
	w.until(19, "balhost_gateway_connections", "main")
	w.story.Hold(6 * time.Minute)
	w.story.Fires("BalhostGatewayFull")
	w.story.Silent("BalhostDiskFillsUp", "BalhostGatewayFull")
	for _, d := range devices[1:] {
		d.CloseIdleConnections()
	}
	w.becomes(func(n float64) bool { return n == 1 }, "balhost_gateway_connections", "main")
	w.story.Silent("BalhostDiskFillsUp")

	// Nobody reads the log, and the plugin writes 100 lines for each message.
	for n := 1; ; n++ {
		w.say(devices[0], fmt.Sprint("m", n))
		if v, _ := value(w.scrape(), "balhost_log_dropped_lines_total"); v > 0 {
			break
		} else if n > 2000 {
			t.Fatal("the log is never too long")
		}
	}
	w.until(1, "balhost_log_dropped_lines_total")
	w.story.Fires("BalhostLogDropped")
	w.story.Silent("BalhostDiskFillsUp", "BalhostLogDropped")

	// The folder of the gateway's socket is taken away, and then it has to listen anew.
	away := filepath.Dir(w.gateway) + ".away"
	if err := os.Rename(filepath.Dir(w.gateway), away); err != nil {
		t.Fatal(err)
	}
	configure(99_999)
	reload := exec.Command("balhost", "reload", "-c", filepath.Join(w.dir, "config.hcl"))
	reload.Env = append(os.Environ(), "BALHOST_ADMIN="+w.admin)
	if out, err := reload.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.becomes(func(n float64) bool { return n == 0 }, "balhost_gateway_listening", "main")
	w.story.Hold(2 * time.Minute)
	w.story.Fires("BalhostGatewayMute")
	if err := os.Rename(away, filepath.Dir(w.gateway)); err != nil {
		t.Fatal(err)
	}
	w.until(1, "balhost_gateway_listening", "main") // it tries again by itself
	w.story.Hold(20 * time.Minute)
	w.story.Silent("BalhostDiskFillsUp")
	if err := w.host.stop(); err != nil {
		t.Fatal(err)
	}
	promtool(t)
	if err := scrape.Judge(monitoring+"rules.yml", t.TempDir(), map[string]*scrape.Story{"processes": &w.story}); err != nil {
		t.Error(err)
	}
}

// unread starts a host whose log nobody reads once it has started.
func (w *watched) unread() {
	w.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { reader.Close() })
	w.host = &process{cmd: exec.Command("balhost", "run"), exited: make(chan struct{}), log: os.DevNull}
	w.host.cmd.Dir, w.host.cmd.Stderr = w.dir, writer
	if err := errors.Join(w.host.cmd.Start(), writer.Close()); err != nil {
		w.Fatal(err)
	}
	go func(p *process) {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state has it
	}(w.host)
	w.Cleanup(w.host.kill)
	for lines := bufio.NewReaderSize(reader, 16); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			w.Fatal(err)
		}
		if m := regexp.MustCompile(started).FindStringSubmatch(line); m != nil {
			w.admin = m[1]
			return
		}
	}
}

// say sends an upstream on a device's connection, which stays open.
func (w *watched) say(device *http.Client, id string) {
	w.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://gateway/v1/upstream", strings.NewReader(`{"message_id":"`+id+`","from":"anna","category":"com.example.echo","data":{"n":"1"}}`))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer right")
	r.Header.Set("Content-Type", "application/json")
	a, err := device.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != http.StatusAccepted {
		w.Fatal(a.Status, err)
	}
}
