package gateway

import (
	"crypto/tls"
	"fmt"
	"time"

	"balhost/host/internal/certificate"
)

// openCertificate reads the gateway's certificate, which is watched from then on. mu is held.
func (g *Gateway) openCertificate() error {
	if g.o.CertFile == "" {
		return nil
	}
	cert, err := certificate.Open(certificate.Files{Cert: g.o.CertFile, Key: g.o.KeyFile}, g.loaded, time.Now())
	if err != nil {
		return fmt.Errorf("gateway of session %q: %w", g.o.Name, err)
	}
	g.cert, g.server.TLSConfig = cert, cert.TLS(nil)
	return nil
}

// loaded logs a certificate that has replaced another.
func (g *Gateway) loaded(cert *tls.Certificate) {
	g.log.Info("certificate loaded", "subject", certificate.Name(cert.Leaf), "not_after", cert.Leaf.NotAfter)
}

// trouble is what status says of the certificate.
func (g *Gateway) trouble(s *Status, now time.Time) {
	g.mu.Lock()
	mine := g.cert
	g.mu.Unlock()
	if mine == nil {
		return
	}
	is := mine.State(fmt.Sprintf("the gateway of session %q", g.o.Name), "no device connects", now)
	s.CertUntil, s.Warnings = is.Until, append(s.Warnings, is.Warnings...)
	if is.Expired != "" {
		s.Unready = append(s.Unready, is.Expired)
	}
}
