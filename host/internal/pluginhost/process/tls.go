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
	"time"
)

// clientTLS makes the host's end of the mutual TLS with one process: a key and a
// certificate used once. The certificate, in PEM, is all that the plugin needs
// to know its host; the plugin's own comes in its handshake line, where
// go-plugin takes it from as the only root.
//
// go-plugin's AutoMTLS does the same with P-521: some 20 ms a start, and refused
// by BoringSSL before 2023 and by ring. Besides, a set TLSConfig is what keeps
// go-plugin from a nil pointer when a plugin sends a certificate unasked.
func clientTLS() (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, "", fmt.Errorf("make serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost", Organization: []string{"balhost"}},
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Unix(0, 0), // whatever the clocks of both say: it dies with its process
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:         true, BasicConstraintsValid: true, // the plugin trusts it as its own issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", fmt.Errorf("make certificate: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ServerName:   "localhost",
		MinVersion:   tls.VersionTLS12,
		// verify does it; Go's own way would ask the clock.
		InsecureSkipVerify: true,
	}
	config.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, config.RootCAs) }
	return config, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// verify takes the very certificate that came in the handshake line, whatever
// its dates: it was made a moment ago, by a clock that may have been set since.
func verify(s tls.ConnectionState, only *x509.CertPool) error {
	if only == nil || len(s.PeerCertificates) == 0 {
		return errors.New("no certificate to know the plugin by")
	}
	leaf := s.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: only, DNSName: s.ServerName, CurrentTime: leaf.NotBefore})
	return err
}
