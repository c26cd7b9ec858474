package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// pairs are made once: an RSA key takes a while.
var pairs = sync.OnceValue(func() (p struct {
	rsa, otherRSA *rsa.PrivateKey
	ec, p384      *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
}) {
	p.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	p.otherRSA, _ = rsa.GenerateKey(rand.Reader, 2048)
	p.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, p.ed, _ = ed25519.GenerateKey(rand.Reader)
	return p
})

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf is a public key as JWKS have it.
func jwkOf(kid string, key crypto.PublicKey) map[string]any {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, _ := key.Bytes()
		half := len(point) / 2
		return map[string]any{"kty": "EC", "kid": kid, "crv": key.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(key)}
	}
	return nil
}

func jwks(keys ...map[string]any) []byte {
	b, _ := json.Marshal(map[string]any{"keys": keys})
	return b
}

// published is the set of the tests: r, e and d are keys for RS256, ES256 and EdDSA.
func published(t testing.TB) *Set {
	t.Helper()
	p := pairs()
	s, err := ParseJWKS(jwks(jwkOf("r", &p.rsa.PublicKey), jwkOf("e", &p.ec.PublicKey), jwkOf("d", p.ed.Public().(ed25519.PublicKey)),
		jwkOf("p384", &p.p384.PublicKey), map[string]any{"kty": "oct", "kid": "s", "k": "AAAA"}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pemOf is a public key as people copy it: the secret of the attack with HS256.
func pemOf(key crypto.PublicKey) []byte {
	der, _ := x509.MarshalPKIXPublicKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// claims are good ones, with changes; nil takes one away.
func claims(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "phone-1", "iss": "https://login.example", "aud": "chat", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "app": "com.example"}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// signed is a token. header has changes to the usual one.
func signed(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signedText is a token of parts as they are, signed by the RSA key.
func signedText(t testing.TB, header, payload string) string {
	t.Helper()
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	sig, err := jwt.SigningMethodRS256.Sign(text, pairs().rsa)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}
