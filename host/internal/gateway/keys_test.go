package gateway

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"balhost/host/internal/credential"

	"github.com/golang-jwt/jwt/v5"
)

// issuer is a login service: it signs tokens, and answers requests for its keys.
type issuer struct {
	t    *testing.T
	mu   sync.Mutex // guards what follows
	keys map[string]ed25519.PrivateKey
	gets []time.Time
	answ func(r *http.Request) (*http.Response, error) // nil: the keys
}

func newIssuer(t *testing.T, kids ...string) *issuer {
	i := &issuer{t: t, keys: map[string]ed25519.PrivateKey{}}
	for _, kid := range kids {
		i.add(kid)
	}
	return i
}

func (i *issuer) add(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.keys[kid] = key
}

func (i *issuer) jwks() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var keys []string
	for kid, key := range i.keys {
		keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, kid, base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

func (i *issuer) token(kid string) credential.Shown {
	i.mu.Lock()
	key := i.keys[kid]
	i.mu.Unlock()
	if key == nil {
		key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "phone-1", "exp": time.Now().Add(1000 * time.Hour).Unix()})
	token.Header["kid"] = kid
	text, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return credential.Shown{Bearer: text}
}

// answers makes it answer so from now on.
func (i *issuer) answers(f func(r *http.Request) (*http.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answ = f
}

func (i *issuer) fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.gets)
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.gets = append(i.gets, time.Now())
	f := i.answ
	i.mu.Unlock()
	if f != nil {
		return f(r)
	}
	return answering(200, i.jwks(), "Cache-Control", "public, max-age=3600"), nil
}

func answering(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for n := 0; n+1 < len(header); n += 2 {
		resp.Header.Add(header[n], header[n+1])
	}
	return resp
}

const jwksURL = "https://login.example/keys?secret=hush"

// ringOf runs a keyring whose keys come from the issuer, until the bubble's test ends.
func ringOf(t *testing.T, i *issuer) *keyring {
	k := newKeyring([]credential.Rule{{Kind: credential.JWT, JWKS: jwksURL}})
	k.all[0].client.Transport = i
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return k
}

func (k *keyring) says(s credential.Shown) string {
	_, err := k.check(s)
	switch {
	case err == nil:
		return "good"
	case errors.As(err, new(*credential.Denied)):
		return "denied"
	case errors.As(err, new(*credential.Unavailable)):
		return "unavailable"
	}
	return err.Error()
}

// C4: a key that is not known is refused at once, and the keys are fetched, at most once a
// minute, however many ask. So a rotation is seen, and random kids cost nothing. // P10
func TestKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t, "one")
		k := ringOf(t, i)
		synctest.Wait()
		i.add("two")
		if one, two := k.says(i.token("one")), k.says(i.token("two")); one != "good" || two != "denied" {
			t.Errorf("one is %s, two is %s", one, two)
		}
		time.Sleep(unknownWait + time.Second)
		synctest.Wait()
		if two := k.says(i.token("two")); two != "good" || i.fetched() != 2 {
			t.Errorf("two is %s after %d fetches", two, i.fetched())
		}
		before := time.Now()
		for n := range 600 { // ten minutes of random kids
			if says := k.says(i.token(fmt.Sprint("random", n))); says != "denied" {
				t.Fatal(says)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := i.fetched(); n < 10 || n > 13 || time.Since(before) != 600*time.Second {
			t.Errorf("%d fetches, and checks took %v", n, time.Since(before)-600*time.Second)
		}
	})
}

// C4: before the first set it is 503. A fetch that fails leaves the old keys, and health
// says why, without the URL's query.
func TestKeysStayWhenAFetchFails(t *testing.T) {
	bad := map[string]func(r *http.Request) (*http.Response, error){
		"HTTP status 500":    func(*http.Request) (*http.Response, error) { return answering(500, "{}"), nil },
		"connection refused": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"not JSON":           func(*http.Request) (*http.Response, error) { return answering(200, "<html>"), nil },
		"no key for":         func(*http.Request) (*http.Response, error) { return answering(200, `{"keys":[]}`), nil },
		"more than 1 MiB": func(*http.Request) (*http.Response, error) {
			return answering(200, strings.Repeat(" ", 2<<20)), nil
		},
		"not answered within 10s": func(r *http.Request) (*http.Response, error) { // it never answers
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"place without https": func(*http.Request) (*http.Response, error) {
			return answering(302, "", "Location", "http://login.example/keys"), nil
		},
		"more than 3 times": func(*http.Request) (*http.Response, error) {
			return answering(302, "", "Location", "https://login.example/again"), nil
		},
	}
	for why, answer := range bad {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t, "one")
			i.answers(answer)
			k := ringOf(t, i)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			unready, warnings := k.health()
			if says := k.says(i.token("one")); says != "unavailable" || len(unready) != 1 || len(warnings) != 0 ||
				!strings.Contains(unready[0], why) || strings.Contains(unready[0], "hush") {
				t.Errorf("%s, without keys: %s, %q, %q", why, says, unready, warnings)
			}
			i.answers(nil)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if says := k.says(i.token("one")); says != "good" {
				t.Errorf("%s, and then keys: %s", why, says)
			}
			i.answers(answer)
			time.Sleep(90 * time.Minute)
			synctest.Wait()
			unready, warnings = k.health()
			if says := k.says(i.token("one")); says != "good" || len(unready) != 0 || len(warnings) != 1 ||
				!strings.Contains(warnings[0], why) || strings.Contains(warnings[0], "hush") {
				t.Errorf("%s, after keys: %s, %q, %q", why, says, unready, warnings)
			}
		})
	}
}

// Keys are used as long as their answer says, between 5 minutes and 6 hours.
func TestKeysAreFreshAsLongAsTheySay(t *testing.T) {
	for _, c := range []struct {
		control, age string
		want         time.Duration
	}{
		{"", "", time.Hour}, {"max-age=1", "", freshLeast}, {"public, Max-Age=7200, must-revalidate", "", 2 * time.Hour},
		{"max-age=7200", "3600", time.Hour}, {"max-age=99999999", "", freshMost}, {"max-age=9999999999999999999", "", time.Hour},
		{"no-store", "", freshLeast}, {"max-age=-5", "", time.Hour}, {`max-age="1200"`, "", 20 * time.Minute}, {"max-age=600", "9999", freshLeast},
	} {
		h := http.Header{}
		h.Set("Cache-Control", c.control)
		h.Set("Age", c.age)
		if got := freshness(h); got != c.want {
			t.Errorf("%q, %q: %v, want %v", c.control, c.age, got, c.want)
		}
	}
}

// Keys in a file are there at once. Another file in its place is read; a half one leaves
// the old keys.
func TestKeysOfAFile(t *testing.T) {
	i := newIssuer(t, "one")
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(i.jwks())
	rule := credential.Rule{Kind: credential.JWT, JWKS: path}
	k := newKeyring([]credential.Rule{rule, rule})
	if says := k.says(i.token("one")); says != "good" || len(k.all) != 1 {
		t.Errorf("%s, %d sources", says, len(k.all))
	}
	i.add("two")
	write(i.jwks()[:20])
	k.all[0].read()
	if _, warnings := k.health(); k.says(i.token("one")) != "good" || len(warnings) != 1 {
		t.Errorf("half a file: %q", warnings)
	}
	write(i.jwks())
	k.all[0].read()
	if _, warnings := k.health(); k.says(i.token("two")) != "good" || len(warnings) != 0 {
		t.Errorf("the whole file: %q", warnings)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	k.all[0].read()
	if _, warnings := k.health(); k.says(i.token("two")) != "good" || len(warnings) != 1 {
		t.Errorf("no file: %q", warnings)
	}
	write(i.jwks())
	k.all[0].read()
	if _, warnings := k.health(); len(warnings) != 0 {
		t.Errorf("the same file again: %q", warnings)
	}
	if unready, _ := newKeyring([]credential.Rule{{Kind: credential.JWT, JWKS: filepath.Join(t.TempDir(), "none")}}).health(); len(unready) != 1 {
		t.Errorf("no file at the start: %q", unready)
	}
}

// The places where Google publishes its keys are used unless the config has others.
func TestKeysOfGoogle(t *testing.T) {
	k := newKeyring([]credential.Rule{
		{Kind: credential.Firebase, AppCheck: &credential.AppCheck{}}, {Kind: credential.Firebase, JWKS: jwksURL},
		{Kind: credential.Static, AppCheck: &credential.AppCheck{}}, {Kind: credential.HMAC},
	})
	var got []string
	for _, s := range k.all {
		got = append(got, s.where)
	}
	if want := []string{FirebaseJWKS, AppCheckJWKS, jwksURL}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}
