package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/credential"
)

// writePair writes a new certificate for localhost and its key, and returns its serial.
func writePair(t *testing.T, certFile, keyFile string, until time.Time) *big.Int {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: until.AddDate(-1, 0, 0), NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return serial
}

// The certificate is read again when its files change. A pair that can't be used keeps the
// old one, and is a warning; a connection that was made before goes on.
func TestCertificateIsReplaced(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	now := time.Now().Truncate(time.Second)
	first := writePair(t, cert, key, now.AddDate(0, 2, 0))
	c, err := openCertificate(cert, key, now)
	if err != nil {
		t.Fatal(err)
	}
	var loaded []string
	c.loaded = func(cert *tls.Certificate) { loaded = append(loaded, subject(cert)) }
	serial := func(after time.Duration) *big.Int {
		pair, _ := c.get(now.Add(after))
		return pair.Leaf.SerialNumber
	}
	if serial(0).Cmp(first) != 0 {
		t.Error("another certificate")
	}
	if err := os.WriteFile(cert, []byte("-----BEGIN CERT"), 0o600); err != nil { // it is half written
		t.Fatal(err)
	}
	if serial(2*time.Second).Cmp(first) != 0 {
		t.Error("the old one is gone")
	}
	if _, wrong := c.get(now.Add(2 * time.Second)); wrong == nil || !strings.Contains(wrong.Error(), cert) {
		t.Errorf("no warning: %v", wrong)
	}
	second := writePair(t, cert, key, now.AddDate(0, 3, 0))
	for range 2 { // the second time it is not read again
		if serial(4*time.Second).Cmp(second) != 0 {
			t.Error("the new one is not used")
		}
	}
	if len(loaded) != 1 || loaded[0] == "" {
		t.Errorf("loaded %q, want the new one once", loaded)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, wrong := c.get(now.Add(6 * time.Second)); wrong == nil || serial(6*time.Second).Cmp(second) != 0 {
		t.Errorf("without a key file: %v", wrong)
	}
	if _, err := openCertificate(cert, key, now); err == nil {
		t.Error("a gateway opens without a key")
	}
}

// Status says when the certificate ends: 14 days before it warns, and then it is not ready.
func TestCertificateEnds(t *testing.T) {
	for days, want := range map[int][2]int{30: {0, 0}, 13: {0, 1}, -1: {1, 0}} {
		dir := t.TempDir()
		g := New(Options{Name: "main", CertFile: filepath.Join(dir, "c"), KeyFile: filepath.Join(dir, "k"), Listen: "127.0.0.1:0"})
		until := time.Now().AddDate(0, 0, days).Truncate(time.Second)
		writePair(t, g.o.CertFile, g.o.KeyFile, until)
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
	writePair(t, o.CertFile, o.KeyFile, time.Now().AddDate(0, 1, 0))
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
	b, err := os.ReadFile(o.CertFile)
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
