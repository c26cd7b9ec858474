package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"balhost/host/internal/secret"

	"github.com/golang-jwt/jwt/v5"
)

// C4, static: one token for all; an empty one in the config lets nobody in.
func TestStatic(t *testing.T) {
	for _, c := range []struct {
		token secret.Text
		s     Shown
		good  bool
	}{
		{"devtoken", Shown{Authorization: "Bearer devtoken", From: "any", Category: "any"}, true},
		{"devtoken", Shown{Bearer: "devtoken"}, true},
		{"devtoken", Shown{Bearer: "devtoken2"}, false},
		{"devtoken", Shown{Authorization: "Basic devtoken"}, false},
		{"devtoken", Shown{}, false},
		{"", Shown{Authorization: "Bearer "}, false},
		{"", Shown{Bearer: " "}, false},
	} {
		id, err := Rule{Kind: Static, Token: c.token}.Check(c.s, Sources{}, now)
		if (err == nil) != c.good || id != (Identity{}) {
			t.Errorf("%+v: %+v, %v", c, id, err)
		}
	}
}

// C4, hmac: a good signature is of the device whose key it has, for this request alone.
func TestSignatures(t *testing.T) {
	byMaster := Rule{Kind: HMAC, Master: "master"}
	byName := Rule{Kind: HMAC, Secrets: map[string]secret.Text{"dev-1": "s3cret", "empty": ""}}
	request := Shown{Method: "POST", Path: "/v1/upstream", Body: []byte(`{"message_id":"m1"}`)}
	with := func(change func(*Shown)) Shown {
		s := request
		change(&s)
		return s
	}
	sign := func(key string, secret []byte, at time.Time) string { return Sign(key, secret, request, at) }
	header := sign("dev-1", []byte("s3cret"), now)
	for name, c := range map[string]struct {
		rule Rule
		s    Shown
		good bool
	}{
		"by name":   {byName, with(func(s *Shown) { s.Authorization = header }), true},
		"by master": {byMaster, with(func(s *Shown) { s.Authorization = sign("dev-1", Derive("master", "dev-1"), now) }), true},
		"other spaces": {byName, with(func(s *Shown) {
			s.Authorization = strings.NewReplacer(", ", " ,\t", "BALHOST ", "balhost   ").Replace(header)
		}), true},
		"unknown parameter":  {byName, with(func(s *Shown) { s.Authorization = header + `, v="2"` }), true},
		"300 s ago":          {byName, with(func(s *Shown) { s.Authorization = sign("dev-1", []byte("s3cret"), now.Add(-300*time.Second)) }), true},
		"301 s ago":          {byName, with(func(s *Shown) { s.Authorization = sign("dev-1", []byte("s3cret"), now.Add(-301*time.Second)) }), false},
		"301 s ahead":        {byName, with(func(s *Shown) { s.Authorization = sign("dev-1", []byte("s3cret"), now.Add(301*time.Second)) }), false},
		"another body":       {byName, with(func(s *Shown) { s.Authorization = header; s.Body = []byte(`{"message_id":"m2"}`) }), false},
		"another path":       {byName, with(func(s *Shown) { s.Authorization = header; s.Path = "/v1/receipts" }), false},
		"another method":     {byName, with(func(s *Shown) { s.Authorization = header; s.Method = "GET" }), false},
		"another device":     {byName, with(func(s *Shown) { s.Authorization = strings.Replace(header, "dev-1", "dev-2", 1) }), false},
		"another of master":  {byMaster, with(func(s *Shown) { s.Authorization = sign("dev-2", Derive("master", "dev-1"), now) }), false},
		"an empty secret":    {byName, with(func(s *Shown) { s.Authorization = sign("empty", nil, now) }), false},
		"an unknown device":  {byName, with(func(s *Shown) { s.Authorization = sign("dev-9", nil, now) }), false},
		"no secrets at all":  {Rule{Kind: HMAC}, with(func(s *Shown) { s.Authorization = sign("dev-1", nil, now) }), false},
		"a key twice":        {byName, with(func(s *Shown) { s.Authorization = header + `, key="dev-1"` }), false},
		"no quotes":          {byName, with(func(s *Shown) { s.Authorization = `BALHOST key=dev-1, ts=1, sig=x` }), false},
		"cut short":          {byName, with(func(s *Shown) { s.Authorization = header[:len(header)-5] + `"` }), false},
		"a time that is far": {byName, with(func(s *Shown) { s.Authorization = strings.Replace(header, `ts="`, `ts="99999999`, 1) }), false},
		"a bearer":           {byName, with(func(s *Shown) { s.Authorization = "Bearer s3cret" }), false},
	} {
		id, err := c.rule.Check(c.s, Sources{}, now)
		if c.good && (err != nil || id.From != "dev-1" || id.User != "dev-1") || !c.good && !errors.As(err, new(*Denied)) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
	if _, err := byName.Check(with(func(s *Shown) { s.Authorization = header; s.From = "dev-2" }), Sources{}, now); !errors.As(err, new(*NotAllowed)) {
		t.Errorf("another from: %v", err)
	}
}

// Of several rules, any that fits decides. If none does, the device hears what it can act
// on, and which scheme it should use.
func TestSeveralRules(t *testing.T) {
	token := signed(t, jwt.SigningMethodES256, pairs().ec, map[string]any{"kid": "e"}, claims(nil))
	static, signing := Rule{Kind: Static, Token: "devtoken"}, Rule{Kind: HMAC, Master: "master"}
	for _, c := range []struct {
		rules []Rule
		s     Shown
		keys  Keys
		want  string
	}{
		{[]Rule{static, login}, Shown{Bearer: "devtoken"}, published(t), "<nil>"},
		{[]Rule{login, static}, Shown{Bearer: "devtoken"}, nil, "<nil>"},
		{[]Rule{static, login}, Shown{Bearer: token}, published(t), "<nil>"},
		{[]Rule{static, login}, Shown{Bearer: token, From: "phone-2"}, published(t), "from is another device's than this credential's: leave it out, or log in as that device"},
		{[]Rule{static, login}, Shown{Bearer: token}, nil, "the keys that tokens are checked with have not been fetched yet"},
		{[]Rule{login, static}, Shown{Bearer: "wrong"}, published(t), "the token is wrong"},
		{[]Rule{signing, login}, Shown{}, published(t), "no credential"},
		{nil, Shown{Bearer: "devtoken"}, nil, "no credential"},
	} {
		_, err := Check(c.rules, []Sources{{Tokens: c.keys}, {Tokens: c.keys}}, c.s, now)
		if fmt.Sprint(err) != c.want {
			t.Errorf("%+v: %v, want %v", c.s, err, c.want)
		}
	}
	for want, r := range map[string]struct {
		rule Rule
		s    Shown
	}{
		"Bearer": {login, Shown{}}, `Bearer error="invalid_token"`: {static, Shown{Bearer: "x"}}, "BALHOST": {signing, Shown{}},
	} {
		_, err := r.rule.Check(r.s, Sources{}, now)
		denied := new(Denied)
		if !errors.As(err, &denied) || denied.Challenge() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := (Rule{Kind: "open"}).Check(Shown{}, Sources{}, now); !errors.As(err, new(*Denied)) {
		t.Errorf("an unknown kind: %v", err)
	}
}
