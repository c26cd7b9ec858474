package credential

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"balhost/sdk/message"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how far an issuer's clock may be from ours.
const leeway = time.Minute

// algorithms are all of which a signature can be. None of them has a secret: with HS256,
// a public key would be one.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

// wanted is what a token must say beside its time.
type wanted struct {
	algorithms []string
	typ        string // "": any
	issuer     string // "": any
	audience   string // "": any
}

// jwt checks a token of the operator's own login, or of Firebase Auth.
func (r Rule) jwt(s Shown, keys Keys, now time.Time) (id Identity, err error) {
	token, err := s.bearer()
	if err != nil {
		return id, err
	}
	w := wanted{algorithms: algorithms, issuer: r.Issuer, audience: r.Audience}
	if r.Kind == Firebase {
		w = wanted{algorithms: []string{"RS256"}, issuer: "https://securetoken.google.com/" + r.Project, audience: r.Project}
	}
	claims, err := w.verify(token, keys, now)
	if err != nil {
		return id, err
	}
	if until, err := claims.GetExpirationTime(); err == nil && until != nil {
		id.Until = until.Time
	}
	if r.Kind == Firebase {
		id.Bind = true
		id.User, err = claimed(claims, "sub")
		return id, err
	}
	from := r.FromClaim
	if from == "" {
		from = "sub"
	}
	id.User, _ = claims["sub"].(string)
	if id.From, err = claimed(claims, from); err == nil && r.CategoryClaim != "" {
		id.Category, err = claimed(claims, r.CategoryClaim)
	}
	return id, err
}

// claimed is a claim that must be there.
func claimed(claims jwt.MapClaims, name string) (string, error) {
	text, ok := claims[name].(string)
	if !ok || text == "" {
		return "", &Denied{Why: fmt.Sprintf("the token's claim %q is absent, empty or not a text", name)}
	}
	return text, nil
}

// verify returns the claims of a token that is what w wants. The key is found by its name
// and its algorithm alone: what the token says of other keys, or of where they are, is
// not looked at.
func (w wanted) verify(token string, keys Keys, now time.Time) (jwt.MapClaims, error) {
	if strings.Count(token, ".") != 2 {
		return nil, &Denied{Why: "the token is no signed JWT", none: true}
	}
	if replaces(token) {
		return nil, &Denied{Why: "the token has a text that is no Unicode: half of a surrogate pair, or not UTF-8"}
	}
	if twice, ok := repeats(token); ok {
		return nil, &Denied{Why: fmt.Sprintf("the token has %.40q twice", twice)}
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(w.algorithms), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding(),
	}
	if w.issuer != "" {
		options = append(options, jwt.WithIssuer(w.issuer))
	}
	if w.audience != "" {
		options = append(options, jwt.WithAudience(w.audience))
	}
	claims := jwt.MapClaims{}
	_, err := jwt.NewParser(options...).ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return w.key(t, keys) })
	if err != nil {
		return nil, refusal(err)
	}
	return claims, nil
}

var (
	errCritical = errors.New("critical")
	errType     = errors.New("typ")
	errKeyID    = errors.New("kid")
)

func (w wanted) key(t *jwt.Token, keys Keys) (crypto.PublicKey, error) {
	if _, ok := t.Header["crit"]; ok { // Spec: RFC 7515 §4.1.11
		return nil, errCritical
	}
	if typ, _ := t.Header["typ"].(string); w.typ != "" && !strings.EqualFold(typ, w.typ) {
		return nil, errType
	}
	kid, ok := t.Header["kid"].(string)
	if _, given := t.Header["kid"]; given && (!ok || kid == "") {
		return nil, errKeyID
	}
	if keys == nil {
		return nil, ErrNoKeys
	}
	return keys.Find(kid, t.Method.Alg())
}

// refusals are what the library's errors mean, in the order in which they are looked for.
// Its own texts are not passed on, as they can have parts of the token.
var refusals = []struct {
	is  error
	why string
}{
	{errCritical, "the token's header has crit, which is not supported"},
	{errType, "the token's header has another typ than JWT"},
	{errKeyID, "the token's kid is not a text"},
	{ErrUnknownKey, "the token is signed by a key that its issuer does not publish, or that is not for this algorithm"},
	{jwt.ErrTokenMalformed, "the token is not a JWT: it is malformed"},
	{jwt.ErrTokenSignatureInvalid, "the token's signature is wrong, or is none of RS256, ES256 and EdDSA"},
	{jwt.ErrTokenRequiredClaimMissing, "the token has no exp, or lacks the iss or aud that is asked for"},
	{jwt.ErrTokenExpired, "the token has expired"},
	{jwt.ErrTokenUsedBeforeIssued, "the token's iat is in the future: is a clock wrong?"},
	{jwt.ErrTokenNotValidYet, "the token is not valid yet: its nbf is in the future"},
	{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
	{jwt.ErrTokenInvalidIssuer, "the token is from another issuer"},
}

func refusal(err error) error {
	if errors.Is(err, ErrNoKeys) {
		return &Unavailable{"the keys that tokens are checked with have not been fetched yet"}
	}
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return &Denied{Why: r.why}
		}
	}
	return &Denied{Why: "the token is not good"}
}

// replaces reports whether the decoder would replace something in a text of the header or the
// claims. Two devices whose names differ only there would be one.
func replaces(token string) bool {
	for _, part := range strings.Split(token, ".")[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err == nil && message.CheckText("token", text) != nil { // of an error the parser says it
			return true
		}
	}
	return false
}

// repeats finds a name that the token's header or its claims have twice. JSON leaves open
// which of both counts, so two readers could take it for two devices.
func repeats(token string) (name string, ok bool) {
	for _, part := range strings.Split(token, ".")[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return "", false // the parser says so
		}
		var seen []string
		d := json.NewDecoder(bytes.NewReader(text))
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return "", false
		}
		for d.More() {
			key, err := d.Token()
			name, isText := key.(string)
			if err != nil || !isText {
				return "", false
			}
			if slices.Contains(seen, name) {
				return name, true
			}
			seen = append(seen, name)
			var value json.RawMessage
			if d.Decode(&value) != nil {
				return "", false
			}
		}
	}
	return "", false
}

// check looks at an App Check token. Spec: fcm-v1-and-gateway.md C4.
func (a *AppCheck) check(token string, keys Keys, now time.Time) error {
	switch {
	case token == "":
		return &Denied{Why: "no App Check token: the header X-Firebase-AppCheck is absent"}
	case len(token) > MaxToken:
		return &Denied{Why: fmt.Sprintf("the App Check token is longer than %d KiB", MaxToken>>10)}
	}
	w := wanted{algorithms: []string{"RS256"}, typ: "JWT",
		issuer: "https://firebaseappcheck.googleapis.com/" + a.ProjectNumber, audience: "projects/" + a.ProjectNumber}
	claims, err := w.verify(token, keys, now)
	denied, ok := err.(*Denied)
	switch {
	case ok:
		return &Denied{Why: "App Check: " + denied.Why}
	case err != nil:
		return &Unavailable{"the keys of App Check have not been fetched yet"}
	}
	app, err := claimed(claims, "sub")
	if err != nil || len(a.Apps) > 0 && !slices.Contains(a.Apps, app) {
		return &Denied{Why: "App Check: the token is another app's"}
	}
	return nil
}
