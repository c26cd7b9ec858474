package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// The limits of a set of keys. Google's has about 2 KiB.
const (
	MaxJWKS     = 1 << 20 // bytes
	maxKeys     = 1000
	leastRSA    = 2048 // bits
	mostRSA     = 8192 // each check of a signature would cost too much
	mostRSAExpo = 1<<31 - 1
)

// Set are the keys of one JWKS. A key is for one algorithm, so a token can't use it with
// another.
type Set struct{ keys map[name]crypto.PublicKey }

type name struct{ kid, alg string }

// Find is that of [Keys].
func (s *Set) Find(kid, alg string) (crypto.PublicKey, error) {
	if s == nil {
		return nil, ErrNoKeys
	}
	if key, ok := s.keys[name{kid, alg}]; ok {
		return key, nil
	}
	if kid == "" && len(s.keys) == 1 {
		for known, key := range s.keys {
			if known.alg == alg {
				return key, nil
			}
		}
	}
	return nil, ErrUnknownKey
}

// Len is how many keys there are.
func (s *Set) Len() int { return len(s.keys) }

// jwk is one key. Spec: RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.
type jwk struct {
	Kty    string   `json:"kty"`
	Kid    string   `json:"kid"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Crv    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	D      string   `json:"d"`
}

// ParseJWKS reads a set of public keys. Keys that RS256, ES256 and EdDSA (Ed25519) have no
// use for are left out. A set that has none then is an error; so is a key that is broken,
// too weak or private, and a kid that two keys have. Errors don't quote keys.
func ParseJWKS(text []byte) (*Set, error) {
	if len(text) > MaxJWKS {
		return nil, fmt.Errorf("the key set has more than %d MiB", MaxJWKS>>20)
	}
	var all struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, errors.New(`the key set is not JSON with a list "keys"`)
	}
	if len(all.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	s := &Set{map[name]crypto.PublicKey{}}
	for i, raw := range all.Keys {
		var k jwk
		if json.Unmarshal(raw, &k) != nil {
			return nil, fmt.Errorf("keys[%d] is not an object whose fields are texts", i)
		}
		alg, public, err := k.public()
		switch {
		case err != nil:
			return nil, fmt.Errorf("keys[%d] (kid %.60q) %w", i, k.Kid, err)
		case public == nil:
			continue
		case s.keys[name{k.Kid, alg}] != nil:
			return nil, fmt.Errorf("two keys for %s have the kid %.60q: give each its own", alg, k.Kid)
		}
		s.keys[name{k.Kid, alg}] = public
	}
	if len(s.keys) == 0 {
		return nil, errors.New("the key set has no key for RS256, ES256 or EdDSA (Ed25519) signatures")
	}
	return s, nil
}

// public is the key and the algorithm that it is for; nil if there is no use for it.
func (k jwk) public() (alg string, key crypto.PublicKey, err error) {
	var make func() (crypto.PublicKey, error)
	switch {
	case k.Use != "" && k.Use != "sig" || k.KeyOps != nil && !slices.Contains(k.KeyOps, "verify"):
		return "", nil, nil
	case k.Kty == "RSA":
		alg, make = "RS256", k.rsa
	case k.Kty == "EC" && k.Crv == "P-256":
		alg, make = "ES256", k.ec
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		alg, make = "EdDSA", k.okp
	default:
		return "", nil, nil
	}
	if k.Alg != "" && k.Alg != alg && !(alg == "EdDSA" && k.Alg == "Ed25519") { // Spec: RFC 9864 §2.2, the newer name
		return "", nil, nil
	}
	if k.D != "" {
		return "", nil, errors.New("is a private key: whoever reads it can make tokens; replace it, and list the public one alone")
	}
	key, err = make()
	return alg, key, err
}

func (k jwk) rsa() (crypto.PublicKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(k.N)
	e, errE := base64.RawURLEncoding.DecodeString(k.E)
	if errN != nil || errE != nil || len(e) > 8 || len(n) > mostRSA/8+1 {
		return nil, fmt.Errorf("is no RSA key of at most %d bits: n and e are base64url", mostRSA)
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := modulus.BitLen(); bits < leastRSA || bits > mostRSA {
		return nil, fmt.Errorf("has %d bits: RS256 needs %d to %d", bits, leastRSA, mostRSA)
	}
	if exponent.Cmp(big.NewInt(3)) < 0 || exponent.Cmp(big.NewInt(mostRSAExpo)) > 0 || exponent.Bit(0) == 0 || modulus.Bit(0) == 0 {
		return nil, errors.New("is no RSA key: n must be odd, and e odd and from 3 to 2147483647")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func (k jwk) ec() (crypto.PublicKey, error) {
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil, errors.New("is no P-256 key: x and y are 32 bytes in base64url")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("is no P-256 key: its point is not on the curve")
	}
	return key, nil
}

func (k jwk) okp() (crypto.PublicKey, error) {
	x, err := base64.RawURLEncoding.DecodeString(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("is no Ed25519 key: x is 32 bytes in base64url")
	}
	return ed25519.PublicKey(x), nil
}
