package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/certtest"
)

// secured is a running host whose admin address, and whose gateway, have certificates.
type secured struct {
	t        *testing.T
	dir      string
	admin    string // host:port
	ca       *certtest.Authority
	until    time.Time
	host     *process
	settings []string // of the environment of commands
}

const securedConfig = `
data_dir = "data"
session "main" {
  sender_id = "482915730064"
  gateway {
    listen = "127.0.0.1:0"
    tls {
      cert_file = "gateway.crt"
      key_file  = "gateway.key"
    }
    auth "static" {
      token    = "devtoken"
      insecure = true
    }
  }
}
ledger {
  disk_soft = "64MiB"
  disk_hard = "16MiB"
  ballast   = "0B"
  inodes    = 100
}
admin {
  listen = %q
  token  = "s3cret-of-the-admin-block"
  tls {
    cert_file      = "admin.crt"
    key_file       = "admin.key"
    client_ca_file = "clients.pem"
  }
}
`

func startSecured(t *testing.T) *secured {
	t.Helper()
	builtPlugins(t) // or skips what starts processes
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{t: t, dir: t.TempDir(), admin: address, ca: certtest.NewAuthority(t, "the CA"), until: time.Now().AddDate(0, 2, 0).Truncate(time.Second)}
	clients := certtest.NewAuthority(t, "staff")
	s.ca.Write(t, s.at("ca.pem"))
	clients.Write(t, s.at("clients.pem"))
	certtest.NewAuthority(t, "another").Write(t, s.at("another.pem"))
	s.ca.Issue(t, "gateway", s.at("gateway.crt"), s.at("gateway.key"), s.until.AddDate(0, 1, 0))
	s.ca.Issue(t, "admin", s.at("admin.crt"), s.at("admin.key"), s.until)
	clients.Issue(t, "ann", s.at("ann.crt"), s.at("ann.key"), s.until)
	for _, err := range []error{os.Mkdir(s.at("plugins"), 0o700), os.WriteFile(s.at("config.hcl"), fmt.Appendf(nil, securedConfig, address), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.host, err = startProcess(s.dir, "host.log", nil, "run"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.host.kill)
	if ready, err := s.host.says(started); err != nil || ready[1] != "https://"+address {
		t.Fatalf("%q %v", ready, err)
	}
	return s
}

func (s *secured) at(name string) string { return filepath.Join(s.dir, name) }

// balhost runs a command, and returns all that it says.
func (s *secured) balhost(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("balhost", args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.settings...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v\n", out, err)
	}
	return string(out)
}

// says fails the test unless a command says all of these.
func (s *secured) says(args string, want ...string) {
	s.t.Helper()
	out := s.balhost(strings.Fields(args)...)
	for _, w := range want {
		if !strings.Contains(out, w) {
			s.t.Errorf("balhost %s does not say %q:\n%s", args, w, out)
		}
	}
}

// browser is a client with a certificate of its own, which keeps its connection.
func (s *secured) browser() *http.Client {
	s.t.Helper()
	roots := x509.NewCertPool()
	if text, err := os.ReadFile(s.at("ca.pem")); err != nil || !roots.AppendCertsFromPEM(text) {
		s.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(s.at("ann.crt"), s.at("ann.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask asks the host, and returns the answer with its body read.
func (s *secured) ask(client *http.Client, path string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://"+s.admin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer s3cret-of-the-admin-block")
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(text)
}

func serialOf(r *http.Response) *big.Int { return r.TLS.PeerCertificates[0].SerialNumber }

// The admin address with a certificate, by real processes: commands on the same machine just work,
// others say what they lack; a new certificate counts at once and drops nobody; one that has
// expired is told of everywhere, and keeps out who is elsewhere, but not who mends it.
func TestAdminTLS(t *testing.T) {
	s := startSecured(t)
	s.settings = []string{"BALHOST_ADMIN=", "BALHOST_ADMIN_TOKEN="}
	s.says("status", ", ready")
	s.says("doctor", "warning: plugins: there is no plugin") // and asks the running host

	s.settings = []string{"BALHOST_ADMIN_TOKEN=s3cret-of-the-admin-block"}
	there, mine := "status --admin https://"+s.admin, " --cert-file ann.crt --key-file ann.key"
	s.says(there+" --ca-file ca.pem"+mine, ", ready")
	s.says(there+" --ca-file ca.pem", "it wants a client's certificate of its client_ca_file: give one with --cert-file and --key-file")
	s.says(there+" --ca-file ca.pem --cert-file gateway.crt --key-file gateway.key", "it wants a client's certificate")
	s.says(there+" --ca-file another.pem"+mine, "certificate signed by unknown authority", "give the CA's certificate with --ca-file")
	s.says(there+mine, "certificate signed by unknown authority")
	s.says(there+" --ca-file none.pem", "no such file")
	s.says(there+" --cert-file ann.crt", "give both files or none")
	s.says("status --admin "+s.admin, "write https://"+s.admin)
	s.settings = append(s.settings, "BALHOST_ADMIN=https://"+s.admin, "BALHOST_ADMIN_CA_FILE=ca.pem", "BALHOST_ADMIN_CERT_FILE=ann.crt", "BALHOST_ADMIN_KEY_FILE=ann.key")
	s.says("status", ", ready")
	s.says("audit", "denied: the client's certificate (localhost): x509: certificate signed by unknown authority", "denied: ")

	browser := s.browser()
	form := url.Values{"token": {"s3cret-of-the-admin-block"}}
	r, err := http.NewRequest(http.MethodPost, "https://"+s.admin+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://"+s.admin)
	resp, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if c := resp.Cookies(); len(c) != 1 || !c[0].Secure || !strings.HasPrefix(c[0].Name, "__Host-balhost_login_") || resp.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("%s %v %v", resp.Status, c, resp.Header)
	}

	first, metrics := s.ask(browser, "/metrics")
	for _, want := range []string{
		fmt.Sprintf(`balhost_certificate_expires_timestamp_seconds{listener="admin",session=""} %v`, float64(s.until.Unix())),
		fmt.Sprintf(`balhost_certificate_expires_timestamp_seconds{listener="gateway",session="main"} %v`, float64(s.until.AddDate(0, 1, 0).Unix())),
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no metric %s", want)
		}
	}
	second := s.ca.Issue(t, "admin", s.at("admin.crt"), s.at("admin.key"), s.until)
	if !eventually(func() bool { r, _ := s.ask(s.browser(), "/livez"); return serialOf(r).Cmp(second) == 0 }) {
		t.Error("the new certificate is not used")
	}
	if r, _ := s.ask(browser, "/livez"); serialOf(r).Cmp(serialOf(first)) != 0 {
		t.Error("a connection that was there has been dropped")
	}
	s.settings = []string{"BALHOST_ADMIN="}
	s.says("status", ", ready")

	s.ca.Issue(t, "admin", s.at("admin.crt"), s.at("admin.key"), time.Now().AddDate(0, 0, -3))
	expired := "the certificate of the admin address has expired on "
	if !eventually(func() bool { return strings.Contains(s.balhost("status"), expired) }) {
		t.Errorf("status does not say that it has expired:\n%s", s.balhost("status"))
	}
	s.says(there+" --ca-file ca.pem"+mine, "certificate has expired")
	s.says("doctor", "WRONG: files: admin: the certificate ", "has expired 3d")
	s.says("check", "has expired 3d")
	if err := s.host.stop(); err != nil {
		t.Error(err)
	}
	if log := s.host.output(); strings.Contains(log, "TLS handshake error") {
		t.Errorf("whoever connects fills the log:\n%s", log)
	}
}
