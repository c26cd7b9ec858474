package gateway

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/regular"
)

const (
	maxPEM    = 1 << 20             // bytes of a file
	certLook  = time.Second         // between two looks at the files
	certShort = 14 * 24 * time.Hour // a certificate that ends sooner is a warning
)

// certificate is the gateway's own. It is read again when its files have changed. One that
// can't be used does not replace one that can. Devices that are connected stay connected.
type certificate struct {
	certFile, keyFile string
	loaded            func(*tls.Certificate) // is told of each that replaces another; nil: nobody is

	mu     sync.Mutex // guards what follows
	now    *tls.Certificate
	seen   [2]os.FileInfo // the files when they were last read
	looked time.Time
	wrong  error // why the files can't be used
}

// openCertificate reads both files.
func openCertificate(certFile, keyFile string, now time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	c.look(now)
	return c, c.wrong
}

// get is the certificate. It looks at the files first, if that is some time ago.
func (c *certificate) get(now time.Time) (cert *tls.Certificate, wrong error) {
	c.mu.Lock()
	before := c.now
	if now.Sub(c.looked) >= certLook || now.Before(c.looked) {
		c.look(now)
	}
	cert, wrong = c.now, c.wrong
	c.mu.Unlock()
	if cert != before && c.loaded != nil {
		c.loaded(cert)
	}
	return cert, wrong
}

// look reads the files again if they have changed, or if they were wrong. mu is held.
func (c *certificate) look(now time.Time) {
	c.looked = now
	var seen [2]os.FileInfo
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			c.wrong = fmt.Errorf("read the gateway's certificate: %w", err)
			return
		}
		seen[i] = info
	}
	if c.wrong == nil && c.now != nil && same(seen[0], c.seen[0]) && same(seen[1], c.seen[1]) {
		return
	}
	c.seen = seen
	cert, err := readPair(c.certFile, c.keyFile)
	if c.wrong = err; err == nil {
		c.now = cert
	}
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readPair reads a certificate and its key. Errors have no part of the key.
func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := regular.Read(certFile, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("read the gateway's certificate: %w", err)
	}
	key, err := regular.Read(keyFile, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("read the key of the gateway's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cert_file %s and key_file %s can't be used together: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}

// until is when the certificate ends.
func until(cert *tls.Certificate) time.Time {
	if cert == nil || cert.Leaf == nil {
		return time.Time{}
	}
	return cert.Leaf.NotAfter
}

// tlsConfig has the certificate of the day.
func (c *certificate) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, _ := c.get(time.Now()) // what is wrong stands in the status
			return cert, nil
		},
	}
}

// loaded logs a certificate that has replaced another.
func (g *Gateway) loaded(cert *tls.Certificate) {
	g.log.Info("certificate loaded", "subject", plain.Line(subject(cert), 200), "not_after", until(cert))
}

// subject is what a certificate is for.
func subject(cert *tls.Certificate) string {
	if cert.Leaf == nil {
		return ""
	}
	if names := cert.Leaf.DNSNames; len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return cert.Leaf.Subject.String()
}

// trouble is what status says of the certificate.
func (g *Gateway) trouble(s *Status, now time.Time) {
	g.mu.Lock()
	mine := g.cert
	g.mu.Unlock()
	if mine == nil {
		return
	}
	cert, wrong := mine.get(now)
	s.CertUntil = until(cert)
	if wrong != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the gateway of session %q goes on with its old certificate: %v", g.o.Name, wrong))
	}
	switch left := s.CertUntil.Sub(now); {
	case s.CertUntil.IsZero():
	case left <= 0:
		s.Unready = append(s.Unready, fmt.Sprintf("the certificate of the gateway of session %q has expired on %s, so no device connects: renew %s",
			g.o.Name, s.CertUntil.Format(time.DateOnly), g.o.CertFile))
	case left < certShort:
		s.Warnings = append(s.Warnings, fmt.Sprintf("the certificate of the gateway of session %q expires on %s: renew %s",
			g.o.Name, s.CertUntil.Format(time.DateOnly), g.o.CertFile))
	}
}
