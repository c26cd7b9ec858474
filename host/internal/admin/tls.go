package admin

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/admin/audit"
	"balhost/host/internal/certificate"
	"balhost/host/internal/plain"
)

const (
	httpPrefix  = "http://"
	httpsPrefix = "https://"
)

// TLS names files in PEM, which are watched. The zero value stands for plain HTTP.
type TLS struct {
	CertFile, KeyFile string
	ClientCAFile      string // the CAs of clients' certificates; "": clients need none
}

// openCertificate reads the files; nil without any.
func openCertificate(o Options) (*certificate.Certificate, error) {
	if o.TLS.CertFile == "" {
		return nil, nil
	}
	loaded := func(cert *tls.Certificate) {
		o.Log.Info("admin certificate loaded", "subject", certificate.Name(cert.Leaf), "not_after", cert.Leaf.NotAfter)
	}
	cert, err := certificate.Open(certificate.Files{Cert: o.TLS.CertFile, Key: o.TLS.KeyFile, ClientCA: o.TLS.ClientCAFile}, loaded, time.Now())
	if err != nil {
		return nil, fmt.Errorf("admin address %s: %w", o.Listen, err)
	}
	return cert, nil
}

func (s *Server) serve() error {
	if s.cert != nil {
		return s.http.ServeTLS(s.listener, "", "")
	}
	return s.http.Serve(s.listener)
}

// Certificate is when the certificate ends, and what is wrong with it. Without TLS both are
// empty.
func (s *Server) Certificate(now time.Time) (until time.Time, warnings []string) {
	if s.cert == nil {
		return until, nil
	}
	is := s.cert.State("the admin address", "only commands that read the config on this machine get in", now)
	if is.Expired != "" {
		is.Warnings = append(is.Warnings, is.Expired)
	}
	return is.Until, is.Warnings
}

// refused puts a client that was not let in into the audit log.
func (s *Server) refused(from net.Addr, why error) {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	s.api.audit.Add(audit.Entry{At: time.Now(), Address: host, Status: http.StatusForbidden, Did: "denied: " + plain.Line(why.Error(), maxDid), Often: true})
}

// serverLog is for what net/http has to say. Anybody can fail a handshake, as often as they
// like, so that is for debugging.
func serverLog(to hclog.Logger) *log.Logger {
	return log.New(handshakes{to, to.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true})}, "", 0)
}

type handshakes struct {
	log  hclog.Logger
	rest io.Writer
}

// Write implements [io.Writer].
func (h handshakes) Write(line []byte) (int, error) {
	if !bytes.Contains(line, []byte("TLS handshake error")) {
		return h.rest.Write(line)
	}
	h.log.Debug("handshake failed", "err", plain.Line(string(bytes.TrimSpace(line)), maxDid))
	return len(line), nil
}
