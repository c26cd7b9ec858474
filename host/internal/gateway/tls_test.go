package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/certtest"
	"balhost/host/internal/credential"
)

// Status says when the certificate ends: 14 days before it warns, and then it is not ready.
func TestCertificateEnds(t *testing.T) {
	ca := certtest.NewAuthority(t, "CA")
	for days, want := range map[int][2]int{30: {0, 0}, 13: {0, 1}, -1: {1, 0}} {
		dir := t.TempDir()
		g := New(Options{Name: "main", CertFile: filepath.Join(dir, "c"), KeyFile: filepath.Join(dir, "k"), Listen: "127.0.0.1:0"})
		until := time.Now().AddDate(0, 0, days).Truncate(time.Second)
		ca.Issue(t, "gateway", g.o.CertFile, g.o.KeyFile, until)
		if err := g.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := g.Status()
		g.Close()
		if got := [2]int{len(s.Unready), len(s.Warnings)}; got != want || !s.CertUntil.Equal(until) {
			t.Errorf("%d days: %+v", days, s)
		}
	}
}

// Over TLS from 1.2 on, HTTP/2 and HTTP/1.1 are served; each request makes its connection
// one that is no stranger.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	o := Options{
		Name: "main", SenderID: "4829", Inbox: newBooks(), CertFile: filepath.Join(dir, "c"), KeyFile: filepath.Join(dir, "k"),
		Auth: []credential.Rule{{Kind: credential.Static, Token: testToken}},
	}
	ca, rootFile := certtest.NewAuthority(t, "CA"), filepath.Join(dir, "ca")
	ca.Write(t, rootFile)
	ca.Issue(t, "gateway", o.CertFile, o.KeyFile, time.Now().AddDate(0, 1, 0))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Listener = l
	g := New(o)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	roots := x509.NewCertPool()
	b, err := os.ReadFile(rootFile)
	if err != nil || !roots.AppendCertsFromPEM(b) {
		t.Fatal(err)
	}
	for _, h2 := range []bool{true, false} {
		transport := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
		r, err := http.NewRequest(http.MethodPost, "https://"+l.Addr().String()+"/v1/upstream", strings.NewReader(one("m")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+testToken)
		r.Header.Set("Content-Type", "application/json")
		resp, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 202 || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("%s: %d", resp.Proto, resp.StatusCode)
		}
		g.seats.mu.Lock()
		if g.seats.strangers != 0 {
			t.Errorf("%s: %d strangers", resp.Proto, g.seats.strangers)
		}
		g.seats.mu.Unlock()
		transport.CloseIdleConnections()
	}
	old := &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11}
	if nc, err := tls.Dial("tcp", l.Addr().String(), old); err == nil {
		nc.Close()
		t.Error("TLS 1.1 is served")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
