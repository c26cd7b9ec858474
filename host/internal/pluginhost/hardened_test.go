package pluginhost

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	plugin "github.com/hashicorp/go-plugin"

	"balhost/host/internal/pluginhost/process"
	"balhost/sdk/wire"
)

// The tests here and in kill_linux_test.go hold the rows of the table of pitfalls in
// notes/goplugin.md §1, which go-plugin leaves to its host. // P10

// Rows 1, 8 and 9: log lines that made hosts panic, lines that are longer than
// any buffer, and text that would have been lost.
func TestWhatAPluginPrints(t *testing.T) {
	b := newBench(t)
	b.put("loud", "")
	b.run()
	b.event("ready loud", 1) // it came through all of it
	b.poll("the end of the noise", func() bool { return strings.Contains(b.log.String(), "end of noise") })
	b.poll("what came by the stdio stream", func() bool { return strings.Contains(b.log.String(), "synced on stdout") })
	log := b.log.String()
	for _, line := range []string{
		"[INFO]  5: plugin=loud",
		"[INFO]  odd: plugin=loud",
		"[WARN]  disk slow: plugin=loud n=4 took=3s",
		"[WARN]  low on \uFFFD[31mmemory: plugin=loud",
		"[ERROR] ValueError: no: plugin=loud\n  trace=\n  | Traceback (most recent call last):\n  |   File \"a.py\", line 1",
		"[WARN]  after the trace: plugin=loud",
		"[INFO]  raw on stdout: plugin=loud",
		"[INFO]  synced on stdout: plugin=loud",
	} {
		if !strings.Contains(log, line+"\n") {
			t.Errorf("the log should have %q", line)
		}
	}
	if n := strings.Count(log, "y"); n < 1<<20 {
		t.Errorf("of a line of 1 MiB on stdout %d bytes are in the log", n)
	}
	for _, line := range strings.Split(log, "\n") {
		if len(line) > (16<<10)+100 {
			t.Fatalf("a line of %d bytes is in the log", len(line))
		}
	}
	if s := b.state("loud", Running); s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
}

// Rows 3 and 4: a plugin that is stopped in its tracks answers neither pings nor
// Shutdown; it is killed in a bounded time.
func TestHungPluginIsKilled(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.put("deaf", "") // reads its frames, but gives no pong
	b.host.o.Plugin = func(name string) PluginOptions {
		if name == "deaf" {
			return PluginOptions{RestartMin: time.Hour}
		}
		return PluginOptions{RestartMin: time.Millisecond}
	}
	b.host.limits.ping = 500 * time.Millisecond
	b.run()
	b.event("ready echo", 1)
	b.tell("echo", "stop")
	b.event("gone echo", 1)
	b.event("ready echo", 2)
	if err := b.ask("echo", "desert"); err != "<nil>" { // its process group: it is to be found all the same
		t.Fatal(err)
	}
	b.tell("echo", "stop")
	b.event("gone echo", 2)
	b.event("ready echo", 3)
	if s := b.state("deaf", Backoff); !strings.HasPrefix(s.Reason, "hung: no answer to a ping") {
		t.Errorf("status %+v", s)
	}
}

// Row 3 again, while the host stops.
func TestStopOfAHungPlugin(t *testing.T) {
	b := newBench(t)
	b.host.limits.Grace = 100 * time.Millisecond
	b.host.o.StopTimeout = 100 * time.Millisecond
	b.put("echo", "")
	b.put("stubborn", "") // its server stops, its process doesn't
	b.run()
	b.event("ready echo", 1)
	b.event("ready stubborn", 1)
	b.tell("echo", "stop")
	b.stop()
	b.event("gone echo", 1)
	b.event("gone stubborn", 1)
}

// Row 5: nothing that a plugin has started hides its end, however far it has
// gone, and nothing that can be found outlives it: by its environment or by what
// it prints to. What gave up all that lives on.
func TestGrandchildren(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	for i, order := range []string{"child", "orphan", "stranger", "hidden"} {
		b.event("ready echo", i+1)
		child, err := strconv.Atoi(b.ask("echo", order))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(child, syscall.SIGKILL)
		b.tell("echo", "kill")
		b.event("gone echo", i+1)
		if found := runtime.GOOS == "linux" && order != "hidden" || order == "child"; found != dead(child) {
			t.Errorf("%s: dead: %v", order, dead(child))
		}
	}
	b.event("ready echo", 5)
}

// Row 10: crashes leave no sockets. (The bench looks for the folder itself.)
func TestCrashesLeaveNoSockets(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	for i := range 5 {
		b.event("ready echo", i+1)
		b.tell("echo", "kill")
	}
	b.event("ready echo", 6)
	left, err := os.ReadDir(process.SocketRoot(b.data))
	if err != nil || len(left) != 1 {
		t.Errorf("%d folders for sockets, want the running one's: %v", len(left), err)
	}
}

// Row 11: the deadline of the handshake is ours, and what lives on after it isn't.
func TestNoHandshake(t *testing.T) {
	b := newBench(t)
	b.host.limits.Handshake = time.Second
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour} }
	b.script("mute", "echo reading the catalogue; exec sleep 3600")
	b.run()
	s := b.state("mute", Backoff)
	if s.Reason != "hangs: no handshake within 1s (start_timeout); its last words: reading the catalogue" {
		t.Errorf("status %+v", s)
	}
	b.event("settled", 1)
}

// One that shakes hands and then says nothing more: go-plugin takes no deadline
// for its connection, and would leave that and the socket's folder behind.
func TestNoConnection(t *testing.T) {
	b := newBench(t)
	b.host.limits.Answer = 500 * time.Millisecond
	b.host.o.Plugin = func(string) PluginOptions { return PluginOptions{RestartMin: time.Hour} }
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	path := filepath.Join(t.TempDir(), "s")
	deaf, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	b.script("mute", fmt.Sprintf("echo '1|2|unix|%s|grpc|%s'; exec sleep 3600", path, base64.RawStdEncoding.EncodeToString(server.Certificate().Raw)))
	b.run()
	if s := b.state("mute", Backoff); s.Reason != "hangs: no connection within 500ms" {
		t.Errorf("status %+v", s)
	}
	if left, err := os.ReadDir(process.SocketRoot(b.data)); err != nil || len(left) != 0 {
		t.Errorf("%d folders for sockets are left: %v", len(left), err)
	}
}

// Row 12: what gRPC refuses by default arrives.
func TestLargeFrameArrives(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	b.mu.Lock()
	p := b.latest["echo"]
	b.mu.Unlock()
	p.Send(&wire.HostFrame{Deliver: []*wire.Delivery{{
		Delivery: 1, Event: &wire.Delivery_Upstream{Upstream: &wire.Upstream{Data: make([]byte, 5<<20)}},
	}}})
	b.event("done echo", 1)
}

// Rows 13, 15 and 17: what a plugin finds around it.
func TestSurroundings(t *testing.T) {
	t.Setenv("BALHOST_SERVER_KEY", "secret")
	t.Setenv("TZ", "Europe/Vienna")
	t.Setenv("LANG", "C")
	b := newBench(t)
	b.host.o.Plugin = func(string) PluginOptions {
		return PluginOptions{Env: map[string]string{
			"HTTPS_PROXY": "http://proxy:3128", "LANG": "de_AT.UTF-8", "PLUGIN_MIN_PORT": "1", "BALHOST_INSTANCE": "mine", // config refuses the last two
		}}
	}
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)

	var names []string
	given := map[string]string{}
	for _, v := range strings.Split(b.ask("echo", "environ"), "\n") {
		if name, value, _ := strings.Cut(v, "="); isName(name) {
			names = append(names, name)
			given[name] = value
		}
	}
	for name, want := range map[string]string{"TZ": "Europe/Vienna", "HTTPS_PROXY": "http://proxy:3128", "LANG": "de_AT.UTF-8"} {
		if given[name] != want {
			t.Errorf("%s is %q, want %q", name, given[name], want)
		}
	}
	if given["PLUGIN_MIN_PORT"] == "1" || given["BALHOST_INSTANCE"] == "mine" {
		t.Errorf("the config overrides the host's own: %v", given)
	}
	allowed := []string{"HTTPS_PROXY", "PATH", "HOME", "TZ", "LANG", "TMPDIR", wire.Handshake.MagicCookieKey,
		"PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_CLIENT_CERT", "BALHOST_INSTANCE"}
	for _, name := range names {
		if !strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+name+" ") {
			t.Errorf("the plugin's environment has %s", name)
		}
	}
	if len(names) < 8 {
		t.Errorf("the environment has only %q", names)
	}
	if got := b.ask("echo", "stdin"); got != "read 0 bytes, <nil>" {
		t.Errorf("stdin: %s", got)
	}
	if got := b.ask("echo", "level"); got != "info" {
		t.Errorf("log level %q, want the host's", got)
	}
	if got, want := b.ask("echo", "where"), filepath.Join(b.data, "plugins", "echo", "work"); got != want {
		t.Errorf("it works in %s, want %s", got, want)
	}
	b.mu.Lock()
	pid := b.latest["echo"].PID
	b.mu.Unlock()
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("its process group is %d, its number %d: %v", group, pid, err)
	}
}

// isName tells a variable from a further line of the certificate.
func isName(s string) bool {
	return s != "" && strings.ToUpper(s) == s && !strings.ContainsAny(s, "+/- ")
}

// The session is for the host alone: its socket is in a folder of this user, and
// whoever has no certificate of the host's is turned away.
func TestSocketIsPrivate(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	found, err := filepath.Glob(filepath.Join(process.SocketRoot(b.data), "*", "plugin[0-9]*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("sockets %q: %v", found, err)
	}
	if info, err := os.Stat(filepath.Dir(found[0])); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its folder: %v, %v", info.Mode(), err)
	}
	conn, err := tls.Dial("unix", found[0], &tls.Config{InsecureSkipVerify: true})
	if err == nil { // in TLS 1.3 the refusal comes after the client's end of the handshake
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
}

// Row 14: go-plugin's global list doesn't hold our plugins.
func TestPluginIsNotManaged(t *testing.T) {
	b := newBench(t)
	b.put("echo", "")
	b.run()
	b.event("ready echo", 1)
	plugin.CleanupClients()
	if got := b.ask("echo", "level"); got != "info" {
		t.Errorf("it answers %q", got)
	}
}

// TestAskedToExit: go-plugin's server ends before it has answered its Shutdown. That
// is no refusal: what main does after it is not cut by a signal.
func TestAskedToExit(t *testing.T) {
	b := newBench(t)
	b.put("tidy", "")
	b.host.limits.Grace = patience
	b.run()
	b.event("ready tidy", 1)
	b.stop()
	if !strings.Contains(b.log.String(), "all is tidied up") {
		t.Error("it was cut at its end")
	}
}

// Row 16: a plugin without go-plugin's controller gets the signal at once.
func TestNoController(t *testing.T) {
	b := newBench(t)
	b.host.limits.Grace = patience // so that waiting for nothing would be seen
	b.put("no-controller", "")
	b.run()
	b.event("ready no-controller", 1)
	began := time.Now()
	b.stop()
	if took := time.Since(began); took > patience/2 || strings.Contains(b.log.String(), "did not exit when asked") {
		t.Errorf("stopping took %v", took)
	}
}

// Row 18: a few lines before the handshake are no harm.
func TestPreamble(t *testing.T) {
	b := newBench(t)
	b.put("preamble", "")
	b.run()
	b.event("ready preamble", 1)
	b.poll("what it printed", func() bool {
		return strings.Contains(b.log.String(), "[INFO]  2 modules loaded: plugin=preamble\n")
	})
}

// Whatever the data folder is called, plugins run: their sockets go where a path
// can be a socket's, and can stand in a handshake.
func TestOddDataFolders(t *testing.T) {
	for _, name := range []string{
		strings.Repeat("long", 30), strings.Repeat("long/", 400) + "x", "a|b", "1|1|unix|", "two\nlines", "s p a c e", "100%", `q"uo'te$HOME`, "\xff\xfe", "ünï", "-rf", "*",
	} {
		t.Run("", func(t *testing.T) {
			b := newBench(t)
			if b.data = filepath.Join(b.data, name); runtime.GOOS == "darwin" && !utf8.ValidString(name) {
				t.Skip("this file system takes UTF-8 only")
			}
			b.host.o.DataDir = b.data
			b.put("echo", "")
			b.script("sh", `case "$0" in */sh/*) exit 7; esac`) // a script gets its path as an argument
			b.run()
			b.event("ready echo", 1)
			b.poll("the script to find its path", func() bool { return strings.Contains(b.status("sh").Reason, "status 7") })
			if root := process.SocketRoot(b.data); len(root) > 55 || !regexp.MustCompile(`^[A-Za-z0-9/._+=@,-]+$`).MatchString(root) {
				t.Errorf("sockets are in %q", root)
			}
			info, err := os.Stat(process.SocketRoot(b.data))
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("folder for sockets: %v, %v", info.Mode(), err)
			}
		})
	}
}

// Row 2 and its kin: a handshake that isn't one. What go-plugin would have made
// of it doesn't matter; the host lives and says what it was.
func TestBadHandshakes(t *testing.T) {
	b := newBench(t)
	good := `1|2|unix|/tmp/x|grpc|`
	want := map[string]string{
		"cert":    "prints garbage: a handshake with ",
		"netrpc":  `speaks "netrpc", this host grpc only: build it with this host's sdk`,
		"version": `speaks version "7" of the plugin protocol, this host version 2: build it with this host's sdk`,
		"tcp":     `listens on "tcp" "127.0.0.1:1", this host takes a unix socket in $PLUGIN_UNIX_SOCKET_DIR only`,
		"short":   `prints garbage: a handshake that is cut off: "1|2|"`,
		"chatty":  `prints garbage: 20 lines without a handshake, the last "20"`,
	}
	b.script("cert", fmt.Sprintf("echo '%s%s'; exec sleep 600", good, strings.Repeat("QUJD", 40)))
	b.script("netrpc", "echo '1|2|unix|/tmp/x|netrpc|'; exec sleep 600")
	b.script("version", "echo '1|7|unix|/tmp/x|grpc|'; exec sleep 600")
	b.script("tcp", "echo '1|2|tcp|127.0.0.1:1|grpc|'; exec sleep 600")
	b.script("short", "echo '1|2|'; exec sleep 600")
	b.script("chatty", "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo $i; done; exec sleep 600")
	b.run()
	for name, reason := range want {
		if s := b.state(name, Refused); !strings.HasPrefix(s.Reason, reason) {
			t.Errorf("%s: %q, want %q", name, s.Reason, reason)
		}
	}
	b.event("settled", 1)
}
