package credential

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// Sets that are taken, and how many keys of them are of use.
func TestKeySets(t *testing.T) {
	p := pairs()
	r, e, d := jwkOf("r", &p.rsa.PublicKey), jwkOf("e", &p.ec.PublicKey), jwkOf("d", p.ed.Public().(ed25519.PublicKey))
	with := func(key map[string]any, name string, value any) map[string]any {
		out := map[string]any{name: value}
		for k, v := range key {
			if k != name {
				out[k] = v
			}
		}
		return out
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	point := with(e, "y", e["x"])
	for _, c := range []struct {
		name string
		text []byte
		want int
		err  string
	}{
		{"three", jwks(r, e, d), 3, ""},
		{"what is not known is left out", jwks(r, map[string]any{"kty": "AKP", "kid": "new"}, jwkOf("p", &p.p384.PublicKey), with(e, "use", "enc"), with(d, "key_ops", []string{"sign"}), with(r, "alg", "RS384")), 1, ""},
		{"one kid for keys of two kinds", jwks(r, with(e, "kid", "r")), 2, ""},
		{"the newer name", jwks(with(d, "alg", "Ed25519")), 1, ""},
		{"one kid twice", jwks(r, jwkOf("r", &p.otherRSA.PublicKey)), 0, `two keys for RS256 have the kid "r"`},
		{"none", jwks(), 0, "no key for RS256"},
		{"none of use", jwks(with(r, "use", "enc")), 0, "no key for RS256"},
		{"1024 bits", jwks(jwkOf("w", &weak.PublicKey)), 0, "has 1024 bits"},
		{"a giant", jwks(with(r, "n", strings.Repeat("_", 4000))), 0, "at most 8192 bits"},
		{"exponent 1", jwks(with(r, "e", "AQ")), 0, "e odd and from 3"},
		{"even exponent", jwks(with(r, "e", "BA")), 0, "e odd and from 3"},
		{"a point that is not on the curve", jwks(point), 0, "not on the curve"},
		{"short Ed25519", jwks(with(d, "x", "AAAA")), 0, "32 bytes"},
		{"a private key", jwks(with(e, "d", "AAAA")), 0, "is a private key"},
		{"a number as kid", jwks(with(e, "kid", 7)), 0, "fields are texts"},
		{"no JSON", []byte("<html>"), 0, "not JSON"},
		{"too long", bytes.Repeat([]byte(" "), MaxJWKS+1), 0, "more than 1 MiB"},
		{"too many", []byte(`{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`), 0, "more than 1000 keys"},
	} {
		s, err := ParseJWKS(c.text)
		if c.err == "" && (err != nil || s.Len() != c.want) || c.err != "" && !strings.Contains(fmt.Sprint(err), c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	one, err := ParseJWKS(jwks(r))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kid, alg string
		good     bool
	}{{"r", "RS256", true}, {"", "RS256", true}, {"", "ES256", false}, {"r", "ES256", false}, {"x", "RS256", false}} {
		if _, err := one.Find(c.kid, c.alg); (err == nil) != c.good || !c.good && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// P10: no set of keys makes ParseJWKS panic, and each key that it takes is for one of the
// three algorithms.
func FuzzJWKS(f *testing.F) {
	p := pairs()
	f.Add(jwks(jwkOf("r", &p.rsa.PublicKey), jwkOf("e", &p.ec.PublicKey), jwkOf("d", p.ed.Public().(ed25519.PublicKey))))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseJWKS(text)
		if err != nil {
			return
		}
		if s.Len() == 0 {
			t.Error("an empty set is taken")
		}
		for n, key := range s.keys {
			if _, ok := key.(*rsa.PublicKey); key == nil || ok != (n.alg == "RS256") {
				t.Errorf("%q is a %T", n, key)
			}
		}
	})
}

// P10: no token makes Check panic, and only one whose signature is by a key of the set is
// somebody.
func FuzzJWT(f *testing.F) {
	p, keys := pairs(), published(f)
	good := signed(f, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(nil))
	f.Add(good)
	f.Add(signed(f, jwt.SigningMethodHS256, pemOf(&p.rsa.PublicKey), map[string]any{"kid": "r"}, claims(nil)))
	f.Add(b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(`{"sub":"a"}`)) + ".")
	head, _, _ := strings.Cut(good, ".")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := login.Check(Shown{Bearer: token}, Sources{Tokens: keys}, now)
		if err == nil && !strings.HasPrefix(token, head) || (err == nil) != (id.From == "phone-1") {
			t.Errorf("%q: %+v, %v", token, id, err)
		}
	})
}

// P10: no header makes the check of a signature panic, and none is somebody without the
// secret.
func FuzzAuthorizationHMAC(f *testing.F) {
	rule := Rule{Kind: HMAC, Master: "master"}
	f.Add(Sign("dev-1", []byte("wrong"), Shown{}, now))
	f.Add(`BALHOST key="a",ts="1",sig=""`)
	f.Add(`BALHOST key="`)
	f.Fuzz(func(t *testing.T, header string) {
		if id, err := rule.Check(Shown{Authorization: header}, Sources{}, now); err == nil {
			t.Errorf("%q is %+v", header, id)
		}
		s, err := parseSignature(header)
		if err == nil && (s.key == "" || len(s.key) > maxKeyName || len(s.sig) != 32) {
			t.Errorf("%q: %+v", header, s)
		}
	})
}
