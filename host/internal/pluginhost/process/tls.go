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
// certificate that are used once. The plugin knows its host by the certificate, which
// it gets in PEM. The plugin's own certificate is in its handshake line, and go-plugin
// trusts no other.
//
// go-plugin's AutoMTLS does the same with P-521. That takes some 20 ms a start, and
// BoringSSL before 2023 and ring refuse it. Without a TLSConfig, go-plugin also meets a
// nil pointer when a plugin sends a certificate unasked.
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
		NotBefore:    time.Unix(0, 0), // it ends with its process, so its dates don't matter
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

// verify accepts the certificate that came in the handshake line, and no other. It
// ignores the dates: the clock may have been set since the certificate was made.
func verify(s tls.ConnectionState, only *x509.CertPool) error {
	if only == nil || len(s.PeerCertificates) == 0 {
		return errors.New("no certificate to know the plugin by")
	}
	leaf := s.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: only, DNSName: s.ServerName, CurrentTime: leaf.NotBefore})
	return err
}
