package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/ccssim"
)

// P4, P5, P7, P8 through tcpbridge: business layers in other languages, connected over TCP,
// under load, while plugin, business layer and host die, the plugin is reloaded, and the
// business layer is away.
// Judged by two books: the simulator's, and what the business layer prints. Python's has a
// token, and Java's TLS as well.
func TestLanguageBridge(t *testing.T) {
	for _, tc := range []struct {
		language string
		program  string
		args     []string
		config   string
		flags    []string
	}{
		{"python", "python3", []string{"../examples/tcpbridge/python/bal.py"}, "", nil},
		{
			"java", "java", []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "../examples/tcpbridge/java/Bal.java"},
			`tls = { cert = file("tls.crt"), key = file("tls.key") }`, []string{"--host", "localhost", "--ca", "tls.crt"},
		},
	} {
		t.Run(tc.language, func(t *testing.T) {
			program, err := exec.LookPath(tc.program)
			switch {
			case err != nil && os.Getenv("BALHOST_SDKS") == "required":
				t.Fatal(err)
			case err != nil:
				t.Skip(err)
			}
			file, err := filepath.Abs(tc.args[len(tc.args)-1])
			if err != nil {
				t.Fatal(err)
			}
			tc.args[len(tc.args)-1] = file
			w := newBridged(t, program, append(tc.args, tc.flags...), tc.config)
			w.startHost()
			w.startBAL()
			for range crashes(1, 10) {
				w.flows()
				w.killPlugin()
				for range 3 {
					w.flows()
					w.reload()
				}
				w.flows()
				w.away(func() {})
				w.flows()
				w.host.kill()
				w.startHost()
				w.flows()
				w.away(w.killPlugin)
				w.flows()
				w.away(func() {
					w.host.kill()
					w.startHost()
				})
			}
			w.flows()
			w.settles()
			w.judge()
		})
	}
}

// bridged is a simulator, a host with tcpbridge, and a business layer that echoes.
type bridged struct {
	t         *testing.T
	dir       string
	sim       *ccssim.Server
	host, bal *process
	program   string // the business layer's
	args      []string
	faults    int // after each, what is not acked comes again
}

const (
	bridgedDevices = 10
	bridgedApp     = "com.example.bal"
)

func newBridged(t *testing.T, program string, args []string, config string) *bridged {
	plugins := builtPlugins(t)
	t.Parallel()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	w := &bridged{t: t, dir: t.TempDir(), program: program, args: append(args, "--session", bridgedApp, "--port", port, "--token-file", "token")}
	w.sim, err = ccssim.NewServer(ccssim.Options{
		CAFile:   filepath.Join(w.dir, "data", "sim-ca.pem"),
		Devices:  ccssim.Devices{Count: bridgedDevices, Rate: 80, Category: bridgedApp},
		AckDelay: ccssim.Range{Max: 5 * time.Millisecond},
		Remember: 1_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.sim.Close() })
	program2, err := os.ReadFile(filepath.Join(plugins, "tcpbridge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "plugins", "tcpbridge"), string(program2), 0o700)
	certificateIn(t, w.dir, "localhost", time.Now().Add(time.Hour))
	write(t, filepath.Join(w.dir, "token"), "a token of enough bytes", 0o600)
	write(t, filepath.Join(w.dir, "config.hcl"), usualConfig+fmt.Sprintf(`
plugin "tcpbridge" {
  suspect_after = 1000000
  config = {
    listen   = %q
    sessions = { %q = file("token") }
    %s
  }
  restart_backoff {
    min = "10ms"
    max = "50ms"
  }
}
`, address, bridgedApp, config), 0o600)
	return w
}

func (w *bridged) startHost() {
	w.t.Helper()
	p, err := startProcess(w.dir, "host.log", []string{"CCS=" + w.sim.Addr()}, "run")
	if err != nil {
		w.t.Fatal(err)
	}
	w.host = p
	w.faults++
	w.t.Cleanup(p.kill)
}

func (w *bridged) startBAL() {
	w.t.Helper()
	p, err := startProgram(w.program, w.dir, "bal.log", nil, w.args...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.bal = p
	w.faults++
	w.t.Cleanup(p.kill)
}

// handed is one upstream that the business layer was given.
type handed struct {
	device string
	n      int
}

var (
	upstreamLine = regexp.MustCompile(`upstream \d+ (device-\d+) \{"n": ?"(\d+)"`)
	reportLine   = regexp.MustCompile(`report (DOWNSTREAM_\w+) ([0-9a-f]{32})`)
)

// book is what the business layers were given so far, in order.
func (w *bridged) book() (book []handed) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "bal.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range upstreamLine.FindAllStringSubmatch(string(text), -1) {
		n, _ := strconv.Atoi(m[2])
		book = append(book, handed{m[1], n})
	}
	return book
}

// flows waits until the business layer has been given some more.
func (w *bridged) flows() {
	w.t.Helper()
	began := len(w.book())
	if !eventually(func() bool { return len(w.book()) >= began+50 || w.bal.over() || w.host.over() }) || w.bal.over() || w.host.over() {
		w.t.Fatalf("the business layer is given nothing, or something has ended\n%s\n%s", w.bal.tail(), w.host.tail())
	}
	time.Sleep(rand.N(100 * time.Millisecond)) // some moment of its life
}

// away kills the business layer, and starts it again when the host has many more upstreams.
// Meanwhile something happens.
func (w *bridged) away(happens func()) {
	w.t.Helper()
	w.bal.kill()
	happens()
	began := w.sim.Report().Acked
	if !eventually(func() bool { return w.sim.Report().Acked >= began+300 }) {
		w.t.Fatalf("no upstreams are taken while the business layer is away\n%s", w.host.tail())
	}
	w.startBAL()
}

func (w *bridged) killPlugin() {
	w.t.Helper()
	pid := 0
	if !eventually(func() bool {
		for _, plugin := range w.status().Plugins {
			pid = plugin.PID
		}
		return pid != 0
	}) {
		w.t.Fatalf("the plugin does not run\n%s", w.host.tail())
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		w.t.Fatal(err)
	}
	w.faults++
}

// reload replaces the plugin's process, which drains.
func (w *bridged) reload() {
	w.t.Helper()
	client := w.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if _, err := client.Reload(ctx, admin.ReloadOrder{Plugin: "tcpbridge", Force: true}); err != nil {
		w.t.Fatalf("%v\n%s", err, w.host.tail())
	}
	w.faults++
}

// client asks the host.
func (w *bridged) client() *admin.Client {
	w.t.Helper()
	ready, err := w.host.says(started)
	if err != nil {
		w.t.Fatal(err)
	}
	return admin.NewClient(ready[1], "")
}

func (w *bridged) status() admin.Status {
	w.t.Helper()
	client := w.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.host.tail())
	}
	return status
}

// waiting is what the bridge has not got rid of yet.
func (w *bridged) waiting() (n int) {
	w.t.Helper()
	client := w.client()
	defer client.Close()
	for _, prefix := range []string{"in/", "out/"} {
		page, err := client.State(w.t.Context(), "tcpbridge", prefix, "", 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(page.Items)
	}
	return n
}

// settles stops the devices and waits until nobody has anything left to do.
func (w *bridged) settles() {
	w.t.Helper()
	w.sim.StopDevices()
	last := ""
	done := func() bool {
		r, l, n := w.sim.Report(), w.status().Ledger, w.waiting()
		last = fmt.Sprintf("the simulator waits with %d upstreams and %d in flight, the host has %d events and %d downstreams, the bridge %d", r.Waiting, r.InFlight, l.Events, l.Downstreams, n)
		return r.Waiting+r.InFlight+l.Events+l.Downstreams+n == 0 && r.Acked == r.Created
	}
	for said := 0; !eventually(done); said = len(w.bal.output()) { // a slow machine may have a long backlog
		if len(w.bal.output()) == said {
			w.t.Errorf("after %s without a message %s\n%s\n%s", patience, last, w.bal.tail(), w.host.tail())
			break
		}
	}
	if n := w.status().Ledger.Dead; n != 0 {
		w.t.Errorf("%d dead letters", n)
	}
	w.bal.kill()
	if err := w.host.stop(); err != nil {
		w.t.Error(err)
	}
}

// judge compares the books. Upstreams: none is lost, each device's come in order, and one that
// comes again was not acked at one of the faults. Answers: each is stored once, goes out in
// order, and is reported as acked.
func (w *bridged) judge() {
	w.t.Helper()
	newest, again := map[string]int{}, 0
	for _, u := range w.book() {
		switch {
		case u.n == newest[u.device]+1:
			newest[u.device] = u.n
		case u.n > newest[u.device]:
			w.t.Errorf("%s's %d came behind its %d (P5, P8)", u.device, u.n, newest[u.device])
		default:
			again++
		}
	}
	if most := 100 * w.faults; again > most {
		w.t.Errorf("%d upstreams came again at %d faults, want at most %d", again, w.faults, most)
	}
	all := 0
	for i := range bridgedDevices {
		d, _ := w.sim.Device(fmt.Sprintf("device-%d", i+1))
		if all += int(d.Sent); newest[d.Token] != int(d.Sent) {
			w.t.Errorf("%s sent %d, and %d is the last that the business layer got (P8)", d.Token, d.Sent, newest[d.Token])
		}
		if err := checkAnswers(d, true); err != nil {
			w.t.Error(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "bal.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	reported := map[string]bool{}
	for _, m := range reportLine.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "DOWNSTREAM_ACK" {
			w.t.Errorf("report %s of %s", m[1], m[2])
		}
		reported[m[2]] = true
	}
	if len(reported) != all {
		w.t.Errorf("%d answers are reported as acked, of %d (P4)", len(reported), all)
	}
	w.t.Logf("%d upstreams, %d handed over again at %d faults", all, again, w.faults)
	if w.t.Failed() {
		w.t.Logf("%s\n%s", w.bal.tail(), w.host.tail())
	}
}
