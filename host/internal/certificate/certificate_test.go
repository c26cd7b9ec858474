package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/certtest"
)

// Files that have changed are read again. Those that can't be used keep what was read
// before, and are a warning.
func TestCertificateIsReplaced(t *testing.T) {
	dir := t.TempDir()
	f, ca := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}, certtest.NewAuthority(t, "CA")
	now := time.Now().Truncate(time.Second)
	first := ca.Issue(t, "one", f.Cert, f.Key, now.AddDate(0, 2, 0))
	var loaded []string
	c, err := Open(f, func(cert *tls.Certificate) { loaded = append(loaded, Name(cert.Leaf)) }, now)
	if err != nil {
		t.Fatal(err)
	}
	serial := func(after time.Duration) *big.Int {
		is, _ := c.get(now.Add(after))
		return is.pair.Leaf.SerialNumber
	}
	if serial(0).Cmp(first) != 0 {
		t.Error("another certificate")
	}
	if err := os.WriteFile(f.Cert, []byte("-----BEGIN CERT"), 0o600); err != nil { // it is half written
		t.Fatal(err)
	}
	if serial(2*time.Second).Cmp(first) != 0 {
		t.Error("the old one is gone")
	}
	if _, wrong := c.get(now.Add(2 * time.Second)); wrong == nil || !strings.Contains(wrong.Error(), f.Cert) {
		t.Errorf("no warning: %v", wrong)
	}
	second := ca.Issue(t, "two", f.Cert, f.Key, now.AddDate(0, 3, 0))
	for range 2 { // the second time it is not read again
		if serial(4*time.Second).Cmp(second) != 0 {
			t.Error("the new one is not used")
		}
	}
	if len(loaded) != 1 || loaded[0] != "localhost" {
		t.Errorf("loaded %q, want the new one once", loaded)
	}
	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	if _, wrong := c.get(now.Add(6 * time.Second)); wrong == nil || serial(6*time.Second).Cmp(second) != 0 {
		t.Errorf("without a key file: %v", wrong)
	}
	if s := c.State("the door", "nobody enters", now.Add(6*time.Second)); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "the door goes on with its old certificate: ") {
		t.Errorf("%+v", s)
	}
	if _, err := Open(f, nil, now); err == nil {
		t.Error("it opens without a key")
	}
}

// Two weeks before a certificate ends that is a warning, and then it has expired.
func TestStateSaysWhenItEnds(t *testing.T) {
	dir, ca, now := t.TempDir(), certtest.NewAuthority(t, "CA"), time.Now()
	f := Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k")}
	until := now.AddDate(0, 0, 30).Truncate(time.Second)
	ca.Issue(t, "one", f.Cert, f.Key, until)
	c, err := Open(f, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for days, want := range map[int]string{0: "", 17: "expires on", 31: "has expired on"} {
		s := c.State("the door", "nobody enters", now.AddDate(0, 0, days))
		if got := s.Expired + strings.Join(s.Warnings, ""); !s.Until.Equal(until) || !strings.Contains(got, want) || want == "" && got != "" || (s.Expired != "") != (days > 30) {
			t.Errorf("after %d days: %+v", days, s)
		}
	}
}

// handshake connects to a listener with c, and returns the server's error and the client's.
func handshake(t *testing.T, c *Certificate, client *tls.Config, denied func(net.Addr, error)) (server, asking error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c.TLS(denied))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer nc.Close()
		if err = nc.(*tls.Conn).Handshake(); err == nil {
			_, err = nc.Write([]byte("x"))
		}
		done <- err
	}()
	nc, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		var n int
		if n, err = nc.Read(make([]byte, 1)); n == 1 { // in TLS 1.3 the client hears only now that it is not let in
			err = nil
		}
		nc.Close()
	}
	return <-done, err
}

// With CAs of clients only their certificates are let in, and the listener's own. Other CAs
// in the file count at once, also for a session that is resumed.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca, staff, other := certtest.NewAuthority(t, "CA"), certtest.NewAuthority(t, "staff"), certtest.NewAuthority(t, "other")
	f, later := Files{Cert: at("tls.crt"), Key: at("tls.key"), ClientCA: at("staff.pem")}, time.Now().AddDate(0, 1, 0)
	ca.Issue(t, "server", f.Cert, f.Key, later)
	ca.Write(t, at("ca.pem"))
	staff.Write(t, f.ClientCA)
	staff.Issue(t, "ann", at("ann.crt"), at("ann.key"), later)
	staff.Issue(t, "old", at("old.crt"), at("old.key"), time.Now().AddDate(0, 0, -1))
	other.Issue(t, "eve", at("eve.crt"), at("eve.key"), later)
	c, err := Open(f, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots, err := Pool(at("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	sessions := tls.NewLRUClientSessionCache(8)
	with := func(name string, version uint16) *tls.Config {
		client := &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: version}
		if name == "" {
			return client
		}
		pair, err := tls.LoadX509KeyPair(at(name+".crt"), at(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		if name == "ann" {
			client.ClientSessionCache = sessions
		}
		return client
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, in := range map[string]bool{"": false, "ann": true, "old": false, "eve": false, "tls": true} {
			var why error
			server, asking := handshake(t, c, with(name, version), func(_ net.Addr, err error) { why = err })
			if (server == nil) != in || (asking == nil) != in {
				t.Errorf("%q: %v, %v", name, server, asking)
			}
			if name == "eve" && (why == nil || !strings.Contains(why.Error(), "localhost")) { // what it says it is for
				t.Errorf("%q was denied, and why was told: %v", name, why)
			}
		}
	}
	other.Write(t, f.ClientCA)
	c.looked = time.Time{}
	if server, _ := handshake(t, c, with("ann", tls.VersionTLS13), nil); server == nil {
		t.Error("whose CA is out of the file resumes its session")
	}
	if server, asking := handshake(t, c, with("eve", tls.VersionTLS13), nil); server != nil || asking != nil {
		t.Errorf("whose CA is in the file now: %v, %v", server, asking)
	}
	if err := os.WriteFile(f.ClientCA, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.looked = time.Time{}
	if server, _ := handshake(t, c, with("eve", tls.VersionTLS13), nil); server != nil {
		t.Errorf("a file without a CA puts the ones before out of force: %v", server)
	}
	if _, err := Open(f, nil, time.Now()); err == nil || !strings.Contains(err.Error(), "staff.pem has no certificate in PEM") {
		t.Errorf("%v", err)
	}
}

// Leaf finds the certificate of the listener among what else is in its file.
func TestLeaf(t *testing.T) {
	dir, ca := t.TempDir(), certtest.NewAuthority(t, "CA")
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	serial := ca.Issue(t, "one", cert, key, time.Now().AddDate(0, 1, 0))
	var all []byte
	for _, file := range []string{key, cert} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if err := os.WriteFile(cert, all, 0o600); err != nil {
		t.Fatal(err)
	}
	if leaf, err := Leaf(cert); err != nil || leaf.SerialNumber.Cmp(serial) != 0 {
		t.Errorf("%v", err)
	}
	if _, err := Leaf(key); err == nil {
		t.Error("a key is a certificate")
	}
	if Name(nil) != "" || Name(&x509.Certificate{DNSNames: []string{"a\x1bb"}}) == "a\x1bb" {
		t.Error("names")
	}
}
