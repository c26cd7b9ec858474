package process

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"balhost/sdk/wire"
)

func made(t *testing.T) *credentials {
	t.Helper()
	c, err := newCredentials()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A clock that is set between the making of a certificate and its use, or that
// is years off, keeps no plugin from starting.
func TestCertificatesAskNoClock(t *testing.T) {
	c := made(t)
	for _, at := range []time.Time{time.Unix(1, 0), time.Now().AddDate(-30, 0, 0), time.Now().AddDate(1000, 0, 0)} {
		for cert, use := range map[*x509.Certificate]x509.ExtKeyUsage{c.host.cert: x509.ExtKeyUsageClientAuth, c.plugin.cert: x509.ExtKeyUsageServerAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: alone(cert), DNSName: "localhost", CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("a clock that says %v: %v", at, err)
			}
			if cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign != 0 {
				t.Error("it is a CA: rustls refuses one as the certificate of an end")
			}
		}
	}
}

// The host accepts one certificate, not what that one's key has signed.
func TestOneCertificateIsPinned(t *testing.T) {
	c, other := made(t), made(t)
	config := c.clientTLS()
	for name, p := range map[string]struct {
		shown []*x509.Certificate
		only  *x509.CertPool
		taken bool
	}{
		"the host's own making":    {[]*x509.Certificate{c.plugin.cert}, config.RootCAs, true},
		"another process's":        {[]*x509.Certificate{other.plugin.cert}, config.RootCAs, false},
		"the host's":               {[]*x509.Certificate{c.host.cert}, config.RootCAs, false},
		"none":                     {nil, config.RootCAs, false},
		"one, where none is known": {[]*x509.Certificate{c.plugin.cert}, nil, false},
		"the handshake's":          {[]*x509.Certificate{other.plugin.cert}, alone(other.plugin.cert), true},
	} {
		state := tls.ConnectionState{ServerName: "localhost", PeerCertificates: p.shown}
		if err := pinned(state, p.only); (err == nil) != p.taken {
			t.Errorf("%s: %v", name, err)
		}
	}
	config.RootCAs = alone(other.plugin.cert) // as go-plugin does, after the handshake
	if config.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.plugin.cert}}) == nil {
		t.Error("a plugin that brought its own certificate may show another one")
	}
}

// Both ends meet with nothing but the files, and no third one gets in.
func TestTLSFromFiles(t *testing.T) {
	c, dir := made(t), t.TempDir()
	if err := c.write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{wire.KeyFile, wire.CertFile, wire.HostCertFile} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv(wire.SocketDirVariable, dir)
	server, err := wire.ServerTLS()
	if err != nil || server == nil {
		t.Fatalf("%v, %v", server, err)
	}
	for name, p := range map[string]struct {
		client *tls.Config
		meet   bool
	}{
		"its host":     {c.clientTLS(), true},
		"another host": {made(t).clientTLS(), false},
		"nobody known": {&tls.Config{InsecureSkipVerify: true}, false},
	} {
		if err := meet(t, p.client, server); (err == nil) != p.meet {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, wire.HostCertFile), []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ServerTLS(); err == nil {
		t.Error("a file without a certificate was taken for the host's")
	}
	for _, dir := range []string{"", t.TempDir()} { // a host that makes no certificates for its plugins
		t.Setenv(wire.SocketDirVariable, dir)
		if server, err := wire.ServerTLS(); server != nil || err != nil {
			t.Errorf("in %q: %v, %v", dir, server, err)
		}
	}
}

// meet is what the first of both ends says that dislikes the other.
func meet(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	listener, err := tls.Listen("unix", filepath.Join(t.TempDir(), "s"), server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
		served <- err
	}()
	conn, err := tls.Dial("unix", listener.Addr().String(), client)
	if err == nil {
		defer conn.Close()
	}
	if theirs := <-served; theirs != nil {
		return theirs
	}
	return err
}
