package process

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"balhost/sdk/wire"
)

// identity is one end of the mutual TLS with one process: a key with the certificate that
// it has signed itself. It is used for one process only.
//
// The keys are P-256. go-plugin's AutoMTLS takes P-521, which takes some 20 ms a start,
// and which BoringSSL before 2023 and ring refuse.
type identity struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// newIdentity makes the host's or the plugin's identity, as use says.
func newIdentity(use x509.ExtKeyUsage) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost", Organization: []string{"balhost"}},
		DNSNames:     []string{"localhost"}, // gRPC's name for whatever is behind a unix socket
		NotBefore:    time.Unix(0, 0),       // it ends with its process, so its dates don't matter
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{use},
		// Each end trusts the other's as its own issuer. It is no CA all the same: rustls
		// refuses one as the certificate of an end.
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate back: %w", err)
	}
	return &identity{key: key, cert: cert}, nil
}

func (i *identity) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

func (i *identity) keyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// credentials are both ends of the mutual TLS with one process.
type credentials struct{ host, plugin *identity }

func newCredentials() (*credentials, error) {
	host, err := newIdentity(x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	plugin, err := newIdentity(x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	return &credentials{host: host, plugin: plugin}, nil
}

// clientTLS is the host's end. It accepts one certificate: the plugin's of these
// credentials, or the one in the plugin's handshake line, which go-plugin puts into RootCAs.
//
// Without a TLSConfig, go-plugin meets a nil pointer when a plugin sends a certificate.
func (c *credentials) clientTLS() *tls.Config {
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.host.cert.Raw}, PrivateKey: c.host.key}},
		ServerName:   "localhost",
		MinVersion:   tls.VersionTLS12,
		RootCAs:      alone(c.plugin.cert),
		// pinned does it; Go's own way would ask the clock.
		InsecureSkipVerify: true,
	}
	config.VerifyConnection = func(s tls.ConnectionState) error { return pinned(s, config.RootCAs) }
	return config
}

// pinned accepts the one certificate that is in only. The certificate's names and dates
// say nothing: the clock may have been set since it was made.
func pinned(s tls.ConnectionState, only *x509.CertPool) error {
	if only == nil || len(s.PeerCertificates) == 0 || !only.Equal(alone(s.PeerCertificates[0])) {
		return errors.New("the plugin shows a certificate that is neither " + wire.CertFile + " nor the one of its handshake")
	}
	return nil
}

func alone(cert *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// write puts what a plugin needs for its end into its folder, which is its alone.
func (c *credentials) write(dir string) error {
	key, err := c.plugin.keyPEM()
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		wire.KeyFile: key, wire.CertFile: c.plugin.certPEM(), wire.HostCertFile: c.host.certPEM(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return fmt.Errorf("write the plugin's key and certificates: %w", err)
		}
	}
	return nil
}
