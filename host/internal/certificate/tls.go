package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// TLS serves the certificate of the day, from TLS 1.2 on. With a ClientCA it lets only those
// in who have a certificate of these CAs, or the listener's own: who has its key is who runs
// it. denied is told who was not let in, and why; nil: nobody is.
func (c *Certificate) TLS(denied func(from net.Addr, why error)) *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			is, _ := c.get(time.Now()) // what is wrong stands in the status
			return is.pair, nil
		},
	}
	if c.files.ClientCA == "" {
		return base
	}
	mutual := base.Clone()
	mutual.ClientAuth = tls.RequireAnyClientCert // VerifyConnection looks at it, also at that of a resumed session
	mutual.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		is, _ := c.get(time.Now())
		one := mutual.Clone()
		one.GetConfigForClient, one.ClientCAs = nil, is.clients // browsers choose by these
		one.VerifyConnection = func(s tls.ConnectionState) error {
			err := is.admits(s.PeerCertificates, time.Now())
			if err != nil && denied != nil {
				denied(hello.Conn.RemoteAddr(), err)
			}
			return err
		}
		return one, nil
	}
	return mutual
}

// admits is an error unless that client may connect.
func (is content) admits(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the client shows no certificate")
	}
	if own := is.pair.Leaf; own != nil && bytes.Equal(chain[0].Raw, own.Raw) {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: is.clients, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("the client's certificate (%s): %w", Name(chain[0]), err)
	}
	return nil
}

// State is how a certificate stands.
type State struct {
	Until    time.Time // when it ends
	Expired  string    // "": it has not
	Warnings []string
}

// State looks at the files. whose is the listener ("the gateway of session \"main\""), so is
// what follows of an expired certificate ("no device connects").
func (c *Certificate) State(whose, so string, now time.Time) (s State) {
	is, wrong := c.get(now)
	if wrong != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s goes on with its old certificate: %v", whose, wrong))
	}
	if is.pair.Leaf == nil {
		return s
	}
	s.Until = is.pair.Leaf.NotAfter
	switch left := s.Until.Sub(now); {
	case left <= 0:
		s.Expired = fmt.Sprintf("the certificate of %s has expired on %s, so %s: renew %s", whose, s.Until.Format(time.DateOnly), so, c.files.Cert)
	case left < Soon:
		s.Warnings = append(s.Warnings, fmt.Sprintf("the certificate of %s expires on %s: renew %s", whose, s.Until.Format(time.DateOnly), c.files.Cert))
	}
	return s
}
