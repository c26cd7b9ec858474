package simnet

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
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// slack is how far a client's clock may be behind the simulator's.
const slack = 30 * 24 * time.Hour

// Authority is the simulators' own CA. It signs only for this machine.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// OpenAuthority reads the CA that an earlier run left in file. If there is none,
// it makes one and writes it there. With file "" the CA is only in memory.
func OpenAuthority(file string) (*Authority, error) {
	if file == "" {
		ca, _, err := newAuthority()
		return ca, err
	}
	ca, err := loadAuthority(file)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return ca, err
	}
	ca, keyPEM, err := newAuthority()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("make folder of CA file: %w", err)
	}
	// Write the key first. After a crash, loadAuthority would never accept a
	// certificate without its key.
	key, err := os.OpenFile(keyFile(file), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s holds a key, but its certificate is not in %s: delete the key if it is the simulator's, or name another file", keyFile(file), file)
	} else if err != nil {
		return nil, fmt.Errorf("write CA key: %w", err)
	}
	_, err = key.Write(keyPEM)
	if err := errors.Join(err, key.Close()); err != nil {
		return nil, fmt.Errorf("write CA key: %w", err)
	}
	if err := os.WriteFile(file, ca.pem, 0o644); err != nil {
		return nil, fmt.Errorf("write CA certificate: %w", err)
	}
	return ca, nil
}

// keyFile is the file for the key of a CA file: sim-ca.key for sim-ca.pem.
func keyFile(caFile string) string {
	key := strings.TrimSuffix(caFile, filepath.Ext(caFile)) + ".key"
	if key == caFile {
		return caFile + ".key"
	}
	return key
}

func loadAuthority(file string) (*Authority, error) {
	certPEM, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(keyFile(file))
	if errors.Is(err, fs.ErrNotExist) {
		// The error must not be ErrNotExist, or openAuthority would overwrite the
		// certificate.
		return nil, fmt.Errorf("CA file %s has no key beside it (%s), so the simulator can't sign with it: delete it or name another file", file, keyFile(file))
	} else if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("CA file %s and %s don't belong together (delete both to get a new CA): %w", file, keyFile(file), err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA || time.Now().Add(24*time.Hour).After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("CA file %s is not an ECDSA CA that is valid for another day: delete it and %s to get a new CA", file, keyFile(file))
	}
	return &Authority{cert: pair.Leaf, key: key, pem: certPEM}, nil
}

func newAuthority() (ca *Authority, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "balhost simulator, for tests only"},
		NotBefore:             now.Add(-slack),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	ca = &Authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	return ca, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// PEM is the certificate that clients must trust.
func (ca *Authority) PEM() []byte { return slices.Clone(ca.pem) }

// Leaf makes a certificate for this machine's loopback names, signed by the CA.
func (ca *Authority) Leaf() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    now.Add(-slack),
		NotAfter:     now.AddDate(1, 0, 0),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key}, nil
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // it never fails: crypto/rand would end the process
	return new(big.Int).SetBytes(b)
}
