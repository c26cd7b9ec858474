package admin

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"balhost/host/internal/certificate"
)

// tls is how a client finds out that it talks to the host, and what it shows of itself.
func (a Address) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		pool, err := certificate.Pool(a.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	} else if a.Own != "" {
		c.InsecureSkipVerify, c.VerifyConnection = true, a.isOwn // it verifies more than CAs could: this very certificate
	}
	if (a.CertFile == "") != (a.KeyFile == "") {
		return nil, errors.New("a client's certificate needs its key, and the key its certificate: give both files or none")
	}
	if a.CertFile != "" {
		// Read when the host asks for it: most ask for none, and not every user can read the key.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(a.CertFile, a.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("read the client's certificate: %w", err)
			}
			return &pair, nil
		}
	}
	return c, nil
}

// isOwn is an error unless the server shows the certificate in the file that the host on
// this machine uses. The file is read each time: it is replaced now and then.
func (a Address) isOwn(s tls.ConnectionState) error {
	own, err := certificate.Leaf(a.Own)
	switch {
	case err != nil:
		return err
	case len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, own.Raw):
		return fmt.Errorf("it does not show the certificate in %s: is another program there, or was the file replaced a moment ago?", a.Own)
	}
	return nil
}

// secured says what to do about an error of TLS; "" if it is none.
func secured(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "; give the CA's certificate with --ca-file"
	case errors.As(err, new(x509.HostnameError)):
		return "; ask for a name that is in it"
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return "; it wants a client's certificate of its client_ca_file: give one with --cert-file and --key-file"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"): // net/http has no value for it
		return "; without https:// it may work: the program there speaks no TLS"
	}
	return ""
}
