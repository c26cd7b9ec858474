package fcmsim

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	stdcrypto "crypto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that hangs. The error then says where.
const patience = 30 * time.Second

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// client is a plain client of net/http.
type client struct {
	t     *testing.T
	s     *Server
	http  *http.Client
	token string
}

// dial makes a client that has a bearer token.
func dial(t *testing.T, s *Server) *client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &client{t, s, &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, s.NewToken()}
}

// answer is what came back.
type answer struct {
	code   int
	body   string
	header http.Header
	proto  string
	err    error
}

// error is the details' FcmError code, or the ErrorInfo reason.
func (a answer) reason() string {
	var e struct {
		Error struct {
			Details []struct{ ErrorCode, Reason string }
		}
	}
	json.Unmarshal([]byte(a.body), &e)
	for _, d := range e.Error.Details {
		if d.ErrorCode != "" {
			return d.ErrorCode
		}
	}
	for _, d := range e.Error.Details {
		if d.Reason != "" {
			return d.Reason
		}
	}
	return ""
}

func (c *client) do(r *http.Request) answer {
	response, err := c.http.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(body), response.Header, response.Proto, err}
}

func (c *client) request(ctx context.Context, path, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "POST", c.s.URL()+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// body posts a request to send.
func (c *client) body(body string) answer {
	c.t.Helper()
	return c.do(c.request(c.t.Context(), "/v1/projects/"+c.s.SenderID()+"/messages:send", body))
}

// send sends a message object.
func (c *client) send(message string) answer {
	c.t.Helper()
	return c.body(`{"message":` + message + `}`)
}

// to sends a message with data to a token.
func (c *client) to(token, balID string) answer {
	c.t.Helper()
	return c.send(`{"token":"` + token + `","data":{"bal_id":"` + balID + `"}}`)
}

// claimsNow are good claims for a server.
func claimsNow(s *Server, key keyFile) map[string]any {
	now := time.Now()
	return map[string]any{"iss": key.ClientEmail, "scope": scopes[0], "aud": key.TokenURI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
}

func parseKey(t *testing.T, text string) (keyFile, *rsa.PrivateKey) {
	t.Helper()
	var f keyFile
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(f.PrivateKey))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return f, key.(*rsa.PrivateKey)
}

// assertion signs a JWT.
func assertion(t *testing.T, header map[string]string, claims map[string]any, key *rsa.PrivateKey) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, stdcrypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// grant asks the token endpoint.
func (c *client) grant(assertion string) answer {
	c.t.Helper()
	form := url.Values{"grant_type": {grantType}, "assertion": {assertion}}
	r := c.request(c.t.Context(), "/token", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func await(t *testing.T, s *Server, ok func(Counts) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Await(ctx, ok); err != nil {
		t.Fatalf("%v: %+v", err, s.Counts())
	}
}

func compact(s string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(s)) != nil {
		return s
	}
	return b.String()
}
