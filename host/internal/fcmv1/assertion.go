package fcmv1

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/plain"
	"balhost/host/internal/secret"
	"balhost/host/internal/serviceaccount"
)

// scope is what our tokens allow: to send, and nothing else.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// assertionLife is for how long an assertion is valid. Google allows an hour.
const assertionLife = time.Hour

// keyFetcher fetches tokens with the key of a service account: a signed assertion
// against a token. Spec: RFC 7523; fcm-v1-and-gateway.md A11.
func keyFetcher(key serviceaccount.Key, client *http.Client) fetcher {
	return func(ctx context.Context) (access, error) {
		now := time.Now()
		assertion, err := assert(key, now)
		if err != nil {
			return access{}, err
		}
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, key.TokenURI, strings.NewReader(form.Encode()))
		if err != nil {
			return access{}, err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := client.Do(request)
		if err != nil {
			return access{}, fmt.Errorf("ask %s for an access token: %w", plain.Line(key.TokenURI, 100), bare(err))
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody)) // of a half, the status is left
		a, err := readToken(response, []byte(secret.New(assertion).Text(string(body))), now)
		if refusal, ok := err.(*refusal); ok {
			refusal.key, refusal.from = key, key.TokenURI
		}
		return a, err
	}
}

// assert signs that the account asks for our scope.
func assert(key serviceaccount.Key, now time.Time) (string, error) {
	header := map[string]string{"alg": "RS256", "typ": "JWT"}
	if key.PrivateKeyID != "" {
		header["kid"] = key.PrivateKeyID
	}
	issued := now.Add(-10 * time.Second) // our clock may be a little ahead
	claims := map[string]any{
		"iss": key.ClientEmail, "scope": scope, "aud": key.TokenURI,
		"iat": issued.Unix(), "exp": issued.Add(assertionLife).Unix(),
	}
	signed := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key.Private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign with the key of %v: %w", key, err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// part is one part of a JSON web token.
func part(v any) string {
	text, _ := json.Marshal(v) // can't fail: strings and numbers
	return base64.RawURLEncoding.EncodeToString(text)
}

// readToken reads the token endpoint's answer; now is when it was asked.
func readToken(response *http.Response, body []byte, now time.Time) (access, error) {
	var a struct {
		Token       string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
		Error       string      `json:"error"`
		Description string      `json:"error_description"`
	}
	broken := json.Unmarshal(body, &a)
	if response.StatusCode == http.StatusOK && a.Token != "" && strings.Trim(a.Token, tokenCharacters) == "" {
		life, err := a.ExpiresIn.Float64()
		if err != nil {
			life = assertionLife.Seconds() // it may be left out (RFC 6749 §5.1)
		}
		return access{token: a.Token, fetched: now, expires: now.Add(time.Duration(min(max(life, 0), (24*time.Hour).Seconds()) * float64(time.Second)))}, nil
	}
	r := &refusal{status: response.StatusCode, code: code(a.Error), text: text(a.Description)}
	r.server, _ = http.ParseTime(response.Header.Get("Date"))
	r.local = time.Now()
	switch {
	case broken != nil:
		r.text = "its answer is not JSON: " + plain.Excerpt(string(body))
	case response.StatusCode == http.StatusOK:
		r.text = "its answer has no usable access_token"
	}
	return access{}, r
}

// tokenCharacters can be in an access token, and so in a header. Spec: RFC 6750 §2.1.
const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

// refusal is an answer of the token endpoint without a token.
type refusal struct {
	from   string // its URL
	key    serviceaccount.Key
	status int
	code   string // OAuth2's: invalid_grant
	text   string
	server time.Time // its Date; zero without one
	local  time.Time // when it came
}

// skew is from where on a difference of clocks is named as the cause.
const skew = time.Minute

func (r *refusal) Error() string {
	said := fmt.Sprintf("%s answered HTTP %d", plain.Line(r.from, 100), r.status)
	if words := strings.Trim(r.code+": "+r.text, ": "); words != "" {
		said += " (" + words + ")"
	}
	ahead := r.local.Sub(r.server).Round(time.Second)
	switch {
	case !r.fatal():
		return said
	case !r.server.IsZero() && ahead >= skew:
		return fmt.Sprintf("%s: this machine's clock is %v ahead of the server's: set the clock", said, ahead)
	case !r.server.IsZero() && ahead <= -skew:
		return fmt.Sprintf("%s: this machine's clock is %v behind the server's: set the clock", said, -ahead)
	case r.key.Private == nil:
		return said + ": these credentials may have been deleted or disabled, or may lack a permission"
	case r.code != "":
		return fmt.Sprintf("%s: the clocks agree, so the key %s of %v may have been deleted or disabled: make a new key file", said, r.key.PrivateKeyID, r.key)
	}
	return said + ": check token_uri in the key file"
}

// fatal reports whether a person has to correct something: the clock, or the key.
// Spec: fcm-v1-and-gateway.md A11.
func (r *refusal) fatal() bool {
	return r.status >= 400 && r.status < 500 && r.status != http.StatusTooManyRequests && r.status != http.StatusRequestTimeout
}

// bare is a client's error without its URL, which is named already.
func bare(err error) error {
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}
