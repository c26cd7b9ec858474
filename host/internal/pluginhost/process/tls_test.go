package process

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// A clock that is set between the making of a certificate and its use, or that
// is years off, keeps no plugin from starting: each side knows the other by the
// certificate itself.
func TestCertificatesAskNoClock(t *testing.T) {
	_, text, err := clientTLS()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	ours, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{time.Unix(1, 0), time.Now().AddDate(-30, 0, 0), time.Now().AddDate(1000, 0, 0)} {
		roots := x509.NewCertPool()
		roots.AddCert(ours)
		if _, err := ours.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("a plugin whose clock says %v: %v", at, err)
		}
	}
	made := func(from time.Time) *x509.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: from, NotAfter: from.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	for _, by := range []time.Duration{-48 * time.Hour, 0, 48 * time.Hour} {
		theirs, other := made(time.Now().Add(by)), made(time.Now())
		only := x509.NewCertPool()
		only.AddCert(theirs)
		state := tls.ConnectionState{ServerName: "localhost", PeerCertificates: []*x509.Certificate{theirs}}
		if err := verify(state, only); err != nil {
			t.Errorf("the plugin's clock %v off: %v", by, err)
		}
		state.PeerCertificates[0] = other
		if verify(state, only) == nil {
			t.Error("another certificate was taken")
		}
		if verify(state, nil) == nil {
			t.Error("a certificate was taken for no reason")
		}
	}
}
