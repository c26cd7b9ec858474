package fcmsim

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A good assertion gets a token that is good for a send, until it expires.
// Spec: fcm-v1-and-gateway.md A11.
func TestToken(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	f, key := parseKey(t, s.ServiceAccount())
	equal(t, "project", f.ProjectID, s.Project())
	equal(t, "token uri", f.TokenURI, s.URL()+"/token")
	a := c.grant(assertion(t, map[string]string{"alg": "RS256", "typ": "JWT", "kid": f.PrivateKeyID}, claimsNow(s, f), key))
	var got struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.ExpiresIn != 3599 || got.TokenType != "Bearer" {
		t.Fatalf("%+v", a)
	}
	c.token = got.AccessToken
	equal(t, "send", c.to("t", "1").code, 200)

	for token, reason := range map[string]string{"": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "nonsense": "ACCESS_TOKEN_TYPE_UNSUPPORTED"} {
		c.token = token
		a := c.to("t", "2")
		equal(t, "code", a.code, 401)
		equal(t, "reason", a.reason(), reason)
	}
	r := c.request(t.Context(), "/v1/projects/p/messages:send", "{}")
	r.Header.Del("Authorization")
	equal(t, "no header", c.do(r).reason(), "CREDENTIALS_MISSING")

	s.SetTokens(Tokens{ExpiresIn: Duration(time.Nanosecond)})
	c.token = s.NewToken()
	equal(t, "expired", c.to("t", "3").reason(), "ACCESS_TOKEN_EXPIRED")
	s.SetTokens(Tokens{ExpiresIn: Duration(time.Hour)})
	c.token = s.NewToken()
	equal(t, "again", c.to("t", "4").code, 200)
	s.SetTokens(Tokens{Revoke: true})
	equal(t, "revoked", c.to("t", "5").code, 401)
	equal(t, "unauthorized", s.Counts().Unauthorized, 5)
	for _, l := range s.Transcript() {
		if strings.Contains(l.Request+l.Answer, "ya29") || strings.Contains(l.Request, "assertion") {
			t.Errorf("a credential is in the transcript: %+v", l)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	s := newServer(t, Options{})
	c := dial(t, s)
	f, key := parseKey(t, s.ServiceAccount())
	now := time.Now()
	for name, row := range map[string]struct {
		header map[string]string
		claims map[string]any
		says   string
	}{
		"issuer":     {nil, map[string]any{"iss": "someone@else"}, "account not found"},
		"audience":   {nil, map[string]any{"aud": "https://else.invalid/token"}, "audience check"},
		"scope":      {nil, map[string]any{"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"},
		"too long":   {nil, map[string]any{"exp": now.Add(2 * time.Hour).Unix()}, "reasonable timeframe"},
		"clock":      {nil, map[string]any{"iat": now.Add(10 * time.Minute).Unix(), "exp": now.Add(20 * time.Minute).Unix()}, "reasonable timeframe"},
		"old":        {nil, map[string]any{"iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()}, "reasonable timeframe"},
		"no times":   {nil, map[string]any{"iat": nil, "exp": nil}, "reasonable timeframe"},
		"algorithm":  {map[string]string{"alg": "HS256"}, nil, "Signature"},
		"key id":     {map[string]string{"alg": "RS256", "kid": "other"}, nil, "Signature"},
		"no claims":  {map[string]string{"alg": "none"}, map[string]any{"iss": f.ClientEmail}, "Signature"},
		"both scope": {nil, map[string]any{"scope": "a " + scopes[1]}, `"access_token"`},
	} {
		header, claims := row.header, claimsNow(s, f)
		if header == nil {
			header = map[string]string{"alg": "RS256"}
		}
		for k, v := range row.claims {
			claims[k] = v
		}
		if a := c.grant(assertion(t, header, claims, key)); !strings.Contains(a.body, row.says) || (a.code == 200) != (name == "both scope") {
			t.Errorf("%s: %+v, want %s", name, a, row.says)
		}
	}
	equal(t, "no parts", c.grant("x.y").code, 400)
	equal(t, "no base64", c.grant("?.?.?").code, 400)
	equal(t, "no grant", c.do(c.request(t.Context(), "/token", "grant_type=password")).code, 400)
}

// What a rule or another clock makes of the token endpoint.
func TestTokenKnobs(t *testing.T) {
	s := newServer(t, Options{ExpiresIn: 5 * time.Second})
	c := dial(t, s)
	f, key := parseKey(t, s.ServiceAccount())
	sign := func() string { return assertion(t, map[string]string{"alg": "RS256"}, claimsNow(s, f), key) }
	for _, r := range []Response{InvalidGrant, InternalFailure, BadGateway, InvalidClient} {
		s.Answer(Match{Token: true}, r)
		a := c.grant(sign())
		equal(t, "code", a.code, r.Status)
		equal(t, "body", a.body, r.Body)
	}
	s.Answer(Match{Token: true}, Response{Delay: Duration(time.Millisecond)})
	if a := c.grant(sign()); !strings.Contains(a.body, `"expires_in":5`) {
		t.Errorf("%+v", a)
	}
	s.SetTokens(Tokens{Clock: Duration(-2 * time.Hour)})
	a := c.grant(sign())
	equal(t, "clock", a.code, 400)
	at, err := time.Parse(time.RFC1123, a.header.Get("Date"))
	if off := time.Since(at); err != nil || off < 119*time.Minute || off > 121*time.Minute {
		t.Errorf("Date is %v (%v)", a.header.Get("Date"), err)
	}
	s.SetTokens(Tokens{ResetClock: true})
	equal(t, "clock is right", c.grant(sign()).code, 200)

	before := sign()
	if _, err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	equal(t, "old key", c.grant(before).code, 400)
	f, key = parseKey(t, s.ServiceAccount())
	equal(t, "new key", c.grant(sign()).code, 200)
}

// A restart keeps the key of its file, and never takes another's.
func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "key.json")
	s := newServer(t, Options{KeyFile: file})
	first, err := os.ReadFile(file)
	if err != nil || string(first) != s.ServiceAccount() {
		t.Fatalf("%s, %v", first, err)
	}
	s.Close()
	s = newServer(t, Options{KeyFile: file})
	f, _ := parseKey(t, string(first))
	again, _ := parseKey(t, s.ServiceAccount())
	equal(t, "key", again.PrivateKey, f.PrivateKey)
	text, err := s.RotateKey()
	if b, _ := os.ReadFile(file); err != nil || string(b) != text || text == string(first) {
		t.Errorf("after a rotation: %v", err)
	}
	real := filepath.Join(dir, "real.json")
	os.WriteFile(real, []byte(`{"type":"service_account","private_key_id":"0123"}`), 0o600)
	if _, err := NewServer(Options{KeyFile: real}); err == nil || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("a foreign key file: %v", err)
	}
	if b, _ := os.ReadFile(real); !strings.Contains(string(b), "0123") {
		t.Error("a foreign key file was written over")
	}
}
