package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// A page in a browser on this machine can reach loopback; it gets nothing.
func TestBrowsersAreRefused(t *testing.T) {
	open := serve(t, &host{}, Options{})
	locked := serve(t, &host{}, Options{Tokens: testTokens})
	bearer := "Bearer s3cret"
	port := open.Addr()[strings.LastIndex(open.Addr(), ":"):]
	for _, tc := range []struct {
		name   string
		s      *Server
		header map[string]string
		code   int
	}{
		{"a program", open, nil, 200},
		{"localhost", open, map[string]string{"Host": "localhost" + port}, 200},
		{"IPv6", open, map[string]string{"Host": "[::1]" + port}, 200},
		{"own page", open, map[string]string{"Origin": "http://" + open.Addr(), "Sec-Fetch-Site": "same-origin"}, 200},
		{"typed in", open, map[string]string{"Sec-Fetch-Site": "none"}, 200},
		{"rebound name", open, map[string]string{"Host": "evil.example" + port}, 403},
		{"rebound name without port", open, map[string]string{"Host": "evil.example"}, 403},
		{"another site", open, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another port", open, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"another origin", open, map[string]string{"Origin": "https://evil.example"}, 403},
		{"no origin", open, map[string]string{"Origin": "null"}, 403},
		{"token", locked, map[string]string{"Authorization": bearer}, 200},
		{"token and name", locked, map[string]string{"Authorization": bearer, "Host": "host.example:8765"}, 200},
		{"token, but a page", locked, map[string]string{"Authorization": bearer, "Origin": "https://evil.example"}, 403},
		{"no token", locked, nil, 401},
		{"wrong token", locked, map[string]string{"Authorization": "Bearer s3cre"}, 401},
		{"wrong scheme", locked, map[string]string{"Authorization": "Basic s3cret"}, 401},
	} {
		if code, body := get(t, tc.s, "/v1/status", tc.header); code != tc.code {
			t.Errorf("%s: %d instead of %d: %s", tc.name, code, tc.code, body)
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if code, _ := get(t, locked, path, nil); code != 200 {
			t.Errorf("%s asks probes for the token", path)
		}
	}
	if code, _ := get(t, locked, "/debug/pprof/", nil); code != 401 {
		t.Errorf("pprof is open: %d", code)
	}
	if _, err := client(t, locked, "s3cret").Status(t.Context()); err != nil {
		t.Errorf("client with the token: %v", err)
	}
	if _, err := client(t, locked, "").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "admin block") {
		t.Errorf("client without the token: %v", err)
	}
}

// A browser reaches a socket through a port that ssh forwards; so does another site's page
// whose name points there.
func TestSocketBehindAPort(t *testing.T) {
	d := &door{unix: true, tokens: noTokens}
	for host, refused := range map[string]bool{
		"localhost": false, "127.0.0.1:8765": false, "localhost:8765": false, "[::1]:8765": false, "balhost": false, "": false,
		"evil.example:8765": true, "evil.example": true, "evil:8765": true, "192.0.2.1:8765": true,
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/status", nil)
		r.Host = host
		if d.rebound(r) != refused {
			t.Errorf("host %q: refused is %v", host, !refused)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	// A socket that a killed process left behind.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()

	t.Run("serves", func(t *testing.T) {
		s := serve(t, &host{status: Status{Version: "v1"}}, Options{Listen: unixPrefix + path})
		if s.Addr() != unixPrefix+path {
			t.Errorf("Addr is %s", s.Addr())
		}
		got, err := client(t, s, "").Status(t.Context())
		if err != nil || got.Version != "v1" {
			t.Errorf("%+v %v", got, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v %v", info.Mode(), err)
		}
		if _, err := Listen(Options{Listen: unixPrefix + path}); err == nil || !strings.Contains(err.Error(), "another process listens") {
			t.Errorf("a second one: %v", err)
		}
	})
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if _, err := Listen(Options{Listen: unixPrefix + "/tmp/" + strings.Repeat("x", 100)}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a long path: %v", err)
	}
}

// A cleaner of temporary folders takes the socket, or its whole folder: it is made again.
func TestRemovedSocketIsMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "admin.sock")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	s := serve(t, &host{status: Status{Version: "v1"}}, Options{Listen: unixPrefix + path})
	for _, gone := range []string{path, filepath.Dir(path)} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			got, err := client(t, s, "").Status(t.Context())
			if err == nil && got.Version == "v1" {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("without %s: %v", gone, err)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}

// What is no socket is a person's: it is neither replaced nor removed.
func TestSocketReplacesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	for _, file := range []string{path, path + ".new"} {
		if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(Options{Listen: unixPrefix + path}); err == nil || !strings.Contains(err.Error(), file+" exists and is not a socket") {
			t.Errorf("%v", err)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
			t.Errorf("%s: %q, %v", file, text, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	l, err := listen(unixPrefix + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("after the end: %q, %v", text, err)
	}
}

func TestAddressInUse(t *testing.T) {
	s := serve(t, &host{}, Options{})
	if _, err := Listen(Options{Listen: s.Addr()}); err == nil || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("%v", err)
	}
}

func TestClientSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	for _, address := range []string{free, unixPrefix + filepath.Join(t.TempDir(), "none.sock")} {
		_, err := NewClient(address, "").Status(t.Context())
		if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"a page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"an error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
	} {
		other := httptest.NewServer(handler)
		c := NewClient(other.Listener.Addr().String(), "")
		if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is it a balhost?") {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
		other.Close()
	}
}

// A request that goes on doesn't keep the host from stopping.
func TestRunEndsAllTheSame(t *testing.T) {
	h, asked := &host{}, make(chan struct{})
	f, release := h.functions(), make(chan struct{})
	f.Live = func() error { close(asked); <-release; return nil }
	s, err := Listen(Options{Listen: "127.0.0.1:0", Functions: f, Metrics: prometheus.NewRegistry(), Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, answered := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.Run(ctx) }()
	go func() {
		defer close(answered)
		if resp, err := http.Get("http://" + s.Addr() + "/livez"); err == nil {
			resp.Body.Close()
		}
	}()
	<-asked
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * shutdownTime):
		t.Error("Run goes on")
	}
	<-answered // cut off
	close(release)
}
