package fcmsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// grantType is the one grant that the token endpoint knows.
const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// scopes are those that FCM takes.
var scopes = []string{"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}

// clockSlack is how far ahead a client's clock may be.
const clockSlack = 5 * time.Minute

// maxTokens is how many bearer tokens are good at a time. The oldest goes first.
const maxTokens = 10_000

// bearer is a bearer token that was given.
type bearer struct {
	text    string
	expires time.Time
}

// Tokens changes what bearer tokens are worth. Zero values change nothing.
type Tokens struct {
	ExpiresIn  Duration `json:"expires_in"`  // of tokens given from now on, as Options.ExpiresIn
	Revoke     bool     `json:"revoke"`      // refuse all tokens given so far
	Clock      Duration `json:"clock"`       // how far the server's clock is ahead of this machine's; see ResetClock
	ResetClock bool     `json:"reset_clock"` // the clock is right again
}

// SetTokens changes what bearer tokens are worth.
func (s *Server) SetTokens(t Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.ExpiresIn > 0 {
		s.expiresIn = time.Duration(t.ExpiresIn)
	}
	if t.Revoke {
		s.bearers = nil
	}
	if t.Clock != 0 || t.ResetClock {
		s.clock = time.Duration(t.Clock)
	}
}

// NewToken is a good bearer token, for clients without a service account.
func (s *Server) NewToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.give(time.Now())
}

// give makes a bearer token. s.mu must be held.
func (s *Server) give(now time.Time) string {
	s.counts.Tokens++
	b := bearer{fmt.Sprintf("ya29.sim-%d-%016x%016x", s.counts.Tokens, s.rnd.Uint64(), s.rnd.Uint64()), now.Add(s.expiresIn)}
	for len(s.bearers) > 0 && (len(s.bearers) >= maxTokens || now.Sub(s.bearers[0].expires) > time.Hour) {
		s.bearers = s.bearers[1:]
	}
	s.bearers = append(s.bearers, b)
	return b.text
}

// authorized is nil for a good Authorization header, else the answer. s.mu must be held.
func (s *Server) authorized(header string, now time.Time) *Response {
	text, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return &TokenMissing
	}
	for i := len(s.bearers) - 1; i >= 0; i-- { // the newest is used most
		if b := s.bearers[i]; b.text == text {
			if !now.Before(b.expires) {
				return &TokenExpired
			}
			return nil
		}
	}
	return &TokenUnknown
}

// claims is what a JWT for a bearer token says.
type claims struct {
	Issuer   string      `json:"iss"`
	Scope    string      `json:"scope"`
	Audience string      `json:"aud"`
	Issued   json.Number `json:"iat"`
	Expires  json.Number `json:"exp"`
}

// token answers the token endpoint. s.mu must be held. Spec: fcm-v1-and-gateway.md A11.
func (s *Server) token(x *exchange, now time.Time) Response {
	s.counts.TokenRequests++
	rule := s.take(func(r *rule) bool { return r.Token })
	if rule != nil && !rule.plain() {
		s.counts.TokensRefused++
		return rule.Response
	}
	refusal := s.checkGrant(x, now)
	if refusal != nil {
		s.counts.TokensRefused++
		return *refusal
	}
	body, _ := json.Marshal(map[string]any{"access_token": s.give(now), "expires_in": int(s.expiresIn.Seconds()), "token_type": "Bearer"})
	r := Response{}
	if rule != nil {
		r = rule.Response
	}
	r.Status, r.Body = 200, string(body)+"\n"
	return r
}

// checkGrant is nil if the request may have a token, else the answer.
func (s *Server) checkGrant(x *exchange, now time.Time) *Response {
	form, err := url.ParseQuery(string(x.body))
	if x.method != "POST" || err != nil || form.Get("grant_type") != grantType {
		r := oauthError(400, "unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))
		return &r
	}
	parts := strings.Split(form.Get("assertion"), ".")
	if len(parts) != 3 {
		r := oauthError(400, "invalid_grant", "Invalid JWT: it has not three parts.")
		return &r
	}
	var header struct{ Alg, Kid string }
	var c claims
	if err := decodePart(parts[0], &header); err != nil {
		return &InvalidSignature
	}
	if err := decodePart(parts[1], &c); err != nil {
		return &InvalidSignature
	}
	switch {
	case c.Issuer != s.account.email:
		return &InvalidAccount
	case header.Alg != "RS256", header.Kid != "" && header.Kid != s.account.keyID, !s.account.verify(parts[0]+"."+parts[1], parts[2]):
		return &InvalidSignature
	case c.Audience != s.tokenURI() && c.Audience != "https://oauth2.googleapis.com/token":
		r := oauthError(400, "invalid_grant", "Invalid JWT: Failed audience check. The right audience is "+s.tokenURI())
		return &r
	case !inTime(c, now.Add(s.clock)):
		return &InvalidGrant
	case !fitsFCM(c.Scope):
		return &InvalidScope
	}
	return nil
}

func decodePart(part string, v any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// inTime checks the times in a JWT against the server's clock.
func inTime(c claims, now time.Time) bool {
	issued, err1 := strconv.ParseInt(c.Issued.String(), 10, 64)
	expires, err2 := strconv.ParseInt(c.Expires.String(), 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	from, to := time.Unix(issued, 0), time.Unix(expires, 0)
	return to.Sub(from) <= time.Hour && to.After(from) && !from.After(now.Add(clockSlack)) && to.After(now)
}

func fitsFCM(scope string) bool {
	for _, s := range strings.Fields(scope) {
		for _, known := range scopes {
			if s == known {
				return true
			}
		}
	}
	return false
}
