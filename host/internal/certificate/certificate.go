// Package certificate is the certificate of a listener, and the CAs of those who may
// connect: files in PEM, which are read again when they have changed. Files that can't be
// used do not replace what was read before, and connections that are there stay (P10).
// Start at [Open].
package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/regular"
)

const (
	maxPEM   = 1 << 20     // bytes of a file
	lookTime = time.Second // between two looks at the files
)

// Soon is how long before its end a certificate is spoken of.
const Soon = 14 * 24 * time.Hour

// Files are absolute paths, or paths from the process's folder.
type Files struct {
	Cert, Key string
	ClientCA  string // of the CAs of clients' certificates; "": clients need none
}

// Certificate is what the files hold. Many goroutines may use it.
type Certificate struct {
	files  Files
	loaded func(*tls.Certificate)

	mu     sync.Mutex // guards what follows
	now    content
	seen   []os.FileInfo // the files when they were last read
	looked time.Time
	wrong  error // why the files can't be used
}

// content is what was read last that can be used.
type content struct {
	pair    *tls.Certificate
	clients *x509.CertPool // nil: clients need no certificate
}

// Open reads the files. loaded is told of each certificate that replaces another; nil:
// nobody is.
func Open(f Files, loaded func(*tls.Certificate), now time.Time) (*Certificate, error) {
	c := &Certificate{files: f, loaded: loaded}
	c.look(now)
	return c, c.wrong
}

// get is what the files hold. It looks at them first, if that is some time ago. wrong says
// why they can't be used, and what was read before is.
func (c *Certificate) get(now time.Time) (is content, wrong error) {
	c.mu.Lock()
	before := c.now.pair
	if now.Sub(c.looked) >= lookTime || now.Before(c.looked) {
		c.look(now)
	}
	is, wrong = c.now, c.wrong
	c.mu.Unlock()
	if is.pair != before && c.loaded != nil {
		c.loaded(is.pair)
	}
	return is, wrong
}

// look reads the files again if they have changed, or if they were wrong. mu is held.
func (c *Certificate) look(now time.Time) {
	c.looked = now
	var seen []os.FileInfo
	for _, path := range c.files.all() {
		info, err := os.Stat(path)
		if err != nil {
			c.wrong = fmt.Errorf("read the certificate: %w", err)
			return
		}
		seen = append(seen, info)
	}
	if c.wrong == nil && same(seen, c.seen) {
		return
	}
	c.seen = seen
	is, err := c.files.read()
	if c.wrong = err; err == nil {
		c.now = is
	}
}

// all are the paths of the files.
func (f Files) all() []string {
	if f.ClientCA == "" {
		return []string{f.Cert, f.Key}
	}
	return []string{f.Cert, f.Key, f.ClientCA}
}

func same(a, b []os.FileInfo) bool {
	for i := range a {
		if i >= len(b) || !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// read reads the files. Errors have no part of the key.
func (f Files) read() (is content, err error) {
	cert, err := regular.Read(f.Cert, maxPEM)
	if err != nil {
		return is, fmt.Errorf("read the certificate: %w", err)
	}
	key, err := regular.Read(f.Key, maxPEM)
	if err != nil {
		return is, fmt.Errorf("read the key of the certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return is, fmt.Errorf("cert_file %s and key_file %s can't be used together: %s", f.Cert, f.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	is.pair = &pair
	if f.ClientCA != "" {
		is.clients, err = Pool(f.ClientCA)
	}
	return is, err
}

// Pool reads a file of CA certificates.
func Pool(file string) (*x509.CertPool, error) {
	text, err := regular.Read(file, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("read the CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
}

// Leaf reads the first certificate of a file: that of the listener itself.
func Leaf(file string) (*x509.Certificate, error) {
	text, err := regular.Read(file, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil:
			return nil, fmt.Errorf("%s has no certificate in PEM", file)
		case block.Type == "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			return cert, nil
		}
		text = rest
	}
}

// Name is what a certificate is for, in one line of a log.
func Name(cert *x509.Certificate) string {
	if cert == nil {
		return ""
	}
	name := cert.Subject.String()
	if names := cert.DNSNames; len(names) > 0 {
		name = strings.Join(names, ", ")
	}
	return plain.Line(name, 200)
}
