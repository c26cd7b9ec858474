package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var login = Rule{Kind: JWT, Issuer: "https://login.example", Audience: "chat", FromClaim: "sub", CategoryClaim: "app"}

// denial is why a token is denied; "" if it is not.
func denial(t *testing.T, err error, token string) string {
	t.Helper()
	denied := new(Denied)
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &denied):
		t.Fatalf("%v is no denial", err)
	}
	for _, part := range strings.Split(token, ".") {
		if len(part) > 8 && strings.Contains(denied.Why, part) {
			t.Errorf("the error has a part of the token: %s", denied.Why)
		}
	}
	return denied.Why
}

// C4: the three algorithms are taken, each with its own key, and say who the device is.
func TestTokens(t *testing.T) {
	p, keys := pairs(), published(t)
	for name, token := range map[string]string{
		"RS256":                   signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "r"}, claims(nil)),
		"ES256":                   signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(nil)),
		"EdDSA":                   signed(t, jwt.SigningMethodEdDSA, p.ed, map[string]any{"kid": "d"}, claims(nil)),
		"audience of several":     signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(jwt.MapClaims{"aud": []string{"x", "chat"}})),
		"expired within leeway":   signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(jwt.MapClaims{"exp": now.Add(-59 * time.Second).Unix()})),
		"issued within leeway":    signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(jwt.MapClaims{"iat": now.Add(59 * time.Second).Unix()})),
		"jku, x5u, jwk, no sense": signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e", "jku": "https://evil.example", "x5u": "https://evil.example", "jwk": jwkOf("e", &p.otherRSA.PublicKey)}, claims(nil)),
	} {
		for _, s := range []Shown{{Authorization: "Bearer " + token}, {Authorization: "bearer  " + token}, {Bearer: token}, {Bearer: token, From: "phone-1", Category: "com.example"}} {
			id, err := login.Check(s, Sources{Tokens: keys}, now)
			if err != nil || id.From != "phone-1" || id.User != "phone-1" || id.Category != "com.example" || id.Bind || id.Until.IsZero() {
				t.Errorf("%s: %+v, %v", name, id, err)
			}
		}
	}
}

// The attacks, by name. None of them is somebody. // P10
func TestAttacksOnTokens(t *testing.T) {
	p, keys := pairs(), published(t)
	r := map[string]any{"kid": "r"}
	e := map[string]any{"kid": "e"}
	rs := func(c jwt.MapClaims) string { return signed(t, jwt.SigningMethodRS256, p.rsa, r, claims(c)) }
	good := rs(nil)
	parts := strings.Split(good, ".")
	tail := fmt.Sprintf(`"iss":"https://login.example","aud":"chat","app":"com.example","exp":%d}`, now.Add(time.Hour).Unix())
	const signature, unknown = "signature is wrong", "does not publish"
	for _, c := range []struct{ name, token, want string }{
		{"alg none", signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, r, claims(nil)), signature},
		{"alg None, another case", b64([]byte(`{"alg":"None","kid":"r"}`)) + "." + parts[1] + ".", "not good"},
		{"no signature", parts[0] + "." + parts[1] + ".", signature},
		{"HS256 with the public key as secret", signed(t, jwt.SigningMethodHS256, pemOf(&p.rsa.PublicKey), r, claims(nil)), signature},
		{"HS256 with an oct key of the set", signed(t, jwt.SigningMethodHS256, []byte{0, 0, 0}, map[string]any{"kid": "s"}, claims(nil)), signature},
		{"RS384", signed(t, jwt.SigningMethodRS384, p.rsa, r, claims(nil)), signature},
		{"PS256", signed(t, jwt.SigningMethodPS256, p.rsa, r, claims(nil)), signature},
		{"ES384 with another curve", signed(t, jwt.SigningMethodES384, p.p384, map[string]any{"kid": "p384"}, claims(nil)), signature},
		{"ES256 that says P-384's kid", signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "p384"}, claims(nil)), unknown},
		{"kid of another kind of key", signed(t, jwt.SigningMethodES256, p.ec, r, claims(nil)), unknown},
		{"RS256 with an EC key's kid", signed(t, jwt.SigningMethodRS256, p.rsa, e, claims(nil)), unknown},
		{"another's key under a known kid", signed(t, jwt.SigningMethodRS256, p.otherRSA, r, claims(nil)), signature},
		{"another's key beside its jwk", signed(t, jwt.SigningMethodRS256, p.otherRSA, map[string]any{"kid": "r", "jwk": jwkOf("r", &p.otherRSA.PublicKey), "jku": "https://evil.example"}, claims(nil)), signature},
		{"kid is a path", signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "../../../dev/null"}, claims(nil)), unknown},
		{"kid is a number", signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": 1}, claims(nil)), "kid is not a text"},
		{"kid is empty", signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": ""}, claims(nil)), "kid is not a text"},
		{"no kid, of several keys", signed(t, jwt.SigningMethodRS256, p.rsa, nil, claims(nil)), unknown},
		{"crit", signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "r", "crit": []string{"exp"}}, claims(nil)), "crit"},
		{"expired", rs(jwt.MapClaims{"exp": now.Add(-61 * time.Second).Unix()}), "expired"},
		{"no exp", rs(jwt.MapClaims{"exp": nil}), "no exp"},
		{"exp is a text", rs(jwt.MapClaims{"exp": "tomorrow"}), "not good"},
		{"iat in the future", rs(jwt.MapClaims{"iat": now.Add(2 * time.Minute).Unix()}), "iat is in the future"},
		{"nbf in the future", rs(jwt.MapClaims{"nbf": now.Add(2 * time.Minute).Unix()}), "not valid yet"},
		{"another audience", rs(jwt.MapClaims{"aud": "bank"}), "another audience"},
		{"no audience", rs(jwt.MapClaims{"aud": nil}), "lacks the iss or aud"},
		{"another issuer", rs(jwt.MapClaims{"iss": "https://login.example.evil"}), "another issuer"},
		{"from claim is absent", rs(jwt.MapClaims{"sub": nil}), `claim "sub"`},
		{"from claim is a number", rs(jwt.MapClaims{"sub": 7}), `claim "sub"`},
		{"category claim is a list", rs(jwt.MapClaims{"app": []string{"com.example"}}), `claim "app"`},
		{"duplicate claims", signedText(t, `{"alg":"RS256","kid":"r"}`, `{"sub":"phone-1","sub":"phone-2",`+tail), `"sub" twice`},
		{"duplicate claims, escaped", signedText(t, `{"alg":"RS256","kid":"r"}`, `{"sub":"phone-1","\u0073ub":"phone-2",`+tail), `"sub" twice`},
		{"duplicate header", signedText(t, `{"alg":"RS256","kid":"r","kid":"e"}`, `{"sub":"phone-1",`+tail), `"kid" twice`},
		{"half a surrogate pair", signedText(t, `{"alg":"RS256","kid":"r"}`, `{"sub":"phone-\ud800",`+tail), "no Unicode"},
		{"not UTF-8", signedText(t, `{"alg":"RS256","kid":"r"}`, `{"sub":"phone-`+"\xff"+`",`+tail), "no Unicode"},
		{"changed claims", parts[0] + "." + b64([]byte(`{"sub":"phone-2",`+tail)) + "." + parts[2], signature},
		{"huge", good + strings.Repeat("A", MaxToken), "longer than 8 KiB"},
		{"padding", good + "=", "malformed"},
		{"four parts", good + "." + parts[2], "no signed JWT"},
		{"no JWT", "devtoken", "no signed JWT"},
		{"deep claims", signedText(t, `{"alg":"RS256","kid":"r"}`, `{"sub":`+strings.Repeat("[", 2000)+`}`), "malformed"},
	} {
		id, err := login.Check(Shown{Bearer: c.token}, Sources{Tokens: keys}, now)
		if why := denial(t, err, c.token); !strings.Contains(why, c.want) || c.want == "" || id != (Identity{}) {
			t.Errorf("%s: %+v, %q, want %q", c.name, id, why, c.want)
		}
	}
	if _, err := login.Check(Shown{Authorization: "Bearer " + good, Bearer: "other"}, Sources{Tokens: keys}, now); denial(t, err, good) == "" {
		t.Error("two tokens that differ are taken")
	}
}

// A device can't say that it is another than its credential says: 403. Before keys have
// come it is 503, and not 401, which would make it get a new credential.
func TestOthersFromAndNoKeys(t *testing.T) {
	p := pairs()
	token := signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(nil))
	for _, s := range []Shown{{Bearer: token, From: "phone-2"}, {Bearer: token, Category: "com.evil"}} {
		if _, err := login.Check(s, Sources{Tokens: published(t)}, now); !errors.As(err, new(*NotAllowed)) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for _, none := range []Keys{nil, (*Set)(nil)} {
		if _, err := login.Check(Shown{Bearer: token}, Sources{Tokens: none}, now); !errors.As(err, new(*Unavailable)) {
			t.Errorf("no keys: %v", err)
		}
	}
}

// C4, Firebase: the uid is a user, and from is the device's own word, to be bound.
func TestFirebase(t *testing.T) {
	p, keys := pairs(), published(t)
	rule := Rule{Kind: Firebase, Project: "demo-chat"}
	token := func(c jwt.MapClaims) string {
		all := claims(jwt.MapClaims{"iss": "https://securetoken.google.com/demo-chat", "aud": "demo-chat", "sub": "uid-1"})
		for k, v := range c {
			all[k] = v
		}
		return signed(t, jwt.SigningMethodRS256, p.rsa, map[string]any{"kid": "r"}, all)
	}
	id, err := rule.Check(Shown{Bearer: token(nil), From: "fid-1"}, Sources{Tokens: keys}, now)
	if err != nil || id.User != "uid-1" || id.From != "" || !id.Bind {
		t.Errorf("%+v, %v", id, err)
	}
	es := signed(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": "e"}, claims(jwt.MapClaims{"iss": "https://securetoken.google.com/demo-chat", "aud": "demo-chat"}))
	for name, bad := range map[string]string{
		"another project": token(jwt.MapClaims{"aud": "other"}), "another issuer": token(jwt.MapClaims{"iss": "https://securetoken.google.com/other"}),
		"no uid": token(jwt.MapClaims{"sub": ""}), "ES256": es,
	} {
		if _, err := rule.Check(Shown{Bearer: bad}, Sources{Tokens: keys}, now); denial(t, err, bad) == "" {
			t.Errorf("%s is taken", name)
		}
	}
}

// C4, App Check: it is asked for on top of each rule, and alone it is nobody.
func TestAppCheck(t *testing.T) {
	p, keys := pairs(), published(t)
	rule := Rule{Kind: Static, Token: "devtoken", AppCheck: &AppCheck{ProjectNumber: "4829", Apps: []string{"1:4829:android:aa"}}}
	app := func(header map[string]any, c jwt.MapClaims) string {
		all := claims(jwt.MapClaims{"iss": "https://firebaseappcheck.googleapis.com/4829", "aud": []string{"projects/4829", "projects/demo"}, "sub": "1:4829:android:aa"})
		for k, v := range c {
			all[k] = v
		}
		h := map[string]any{"kid": "r"}
		for k, v := range header {
			h[k] = v
		}
		return signed(t, jwt.SigningMethodRS256, p.rsa, h, all)
	}
	good := app(nil, nil)
	if id, err := rule.Check(Shown{Bearer: "devtoken", AppCheck: good}, Sources{AppCheck: keys}, now); err != nil || id.From != "" {
		t.Errorf("%+v, %v", id, err)
	}
	for name, s := range map[string]Shown{
		"App Check alone": {AppCheck: good}, "none": {Bearer: "devtoken"},
		"as the bearer": {Bearer: good, AppCheck: good}, "huge": {Bearer: "devtoken", AppCheck: good + strings.Repeat("A", MaxToken)},
		"another app":     {Bearer: "devtoken", AppCheck: app(nil, jwt.MapClaims{"sub": "1:4829:android:bb"})},
		"another project": {Bearer: "devtoken", AppCheck: app(nil, jwt.MapClaims{"aud": []string{"projects/demo"}})},
		"longer issuer":   {Bearer: "devtoken", AppCheck: app(nil, jwt.MapClaims{"iss": "https://firebaseappcheck.googleapis.com/48290"})},
		"expired":         {Bearer: "devtoken", AppCheck: app(nil, jwt.MapClaims{"exp": now.Add(-time.Hour).Unix()})},
		"another typ":     {Bearer: "devtoken", AppCheck: app(map[string]any{"typ": "at+jwt"}, nil)},
	} {
		if _, err := rule.Check(s, Sources{AppCheck: keys}, now); denial(t, err, s.AppCheck) == "" {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := rule.Check(Shown{Bearer: "devtoken", AppCheck: good}, Sources{}, now); !errors.As(err, new(*Unavailable)) {
		t.Errorf("no keys: %v", err)
	}
}
