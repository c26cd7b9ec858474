package credential

import (
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Shown is what a device shows of itself with one request, or with its first frame.
type Shown struct {
	Authorization string // the header, as it came
	Bearer        string // a token that came another way: by subprotocol, or in the hello
	AppCheck      string // the header X-Firebase-AppCheck
	Method, Path  string // of the request; Path is escaped, without the query
	Body          []byte // of the request; only [HMAC] looks at it
	From          string // as the device says; "": it doesn't
	Category      string // the same
}

// Identity is who a device is.
type Identity struct {
	User     string    // whom the credential is of; "": a static token is nobody's
	From     string    // fixed by the credential; "": the device says it
	Category string    // the same
	Until    time.Time // the credential is good before this; zero: no end
	Bind     bool      // the device says its from, and that belongs to User from its first use on
}

// Keys are public keys. Find returns the one that an issuer named kid and that belongs to
// alg; kid "" is the only key. Its error is [ErrUnknownKey] or [ErrNoKeys].
type Keys interface {
	Find(kid, alg string) (crypto.PublicKey, error)
}

// Sources are the keys that one rule needs; nil where it needs none.
type Sources struct {
	Tokens   Keys // jwt, firebase
	AppCheck Keys
}

// Errors of [Keys].
var (
	ErrUnknownKey = errors.New("no such key")
	ErrNoKeys     = errors.New("no keys have come yet")
)

// Denied is a credential that is missing, wrong or expired. HTTP: 401; WebSocket: 4401.
type Denied struct {
	Why    string // without any part of the credential
	scheme string // "": Bearer
	none   bool   // nothing was shown that the rule could look at
}

func (d *Denied) Error() string { return d.Why }

// Challenge is the value of the header WWW-Authenticate. Spec: RFC 6750 §3.
func (d *Denied) Challenge() string {
	switch {
	case d.scheme != "":
		return d.scheme
	case d.none:
		return "Bearer"
	}
	return `Bearer error="invalid_token"`
}

// NotAllowed is a good credential of a device that says it is another. HTTP: 403;
// WebSocket: 4403.
type NotAllowed struct{ Why string }

func (n *NotAllowed) Error() string { return n.Why }

// Unavailable is a credential that can't be checked now. HTTP: 503; WebSocket: 1013.
type Unavailable struct{ Why string }

func (u *Unavailable) Error() string { return u.Why }

// Check says who shows this, by the first rule that fits. Sources has those of each rule,
// in the same order. Its error is a [*Denied], [*NotAllowed] or [*Unavailable].
func Check(rules []Rule, sources []Sources, s Shown, now time.Time) (Identity, error) {
	var worst error = &Denied{Why: "no credential", none: true}
	for i, r := range rules {
		id, err := r.Check(s, sources[i], now)
		if err == nil {
			return id, nil
		}
		if weight(err) > weight(worst) {
			worst = err
		}
	}
	return Identity{}, worst
}

// weight orders the errors of several rules: the device hears the heaviest.
func weight(err error) int {
	switch e := err.(type) {
	case *NotAllowed:
		return 3
	case *Unavailable:
		return 2
	case *Denied:
		if !e.none {
			return 1
		}
	}
	return 0
}

// Check says who shows this. Its error is a [*Denied], [*NotAllowed] or [*Unavailable].
// Spec: fcm-v1-and-gateway.md C4.
func (r Rule) Check(s Shown, k Sources, now time.Time) (id Identity, err error) {
	switch r.Kind {
	case Static:
		err = r.static(s)
	case HMAC:
		id, err = r.hmac(s, now)
	case JWT, Firebase:
		id, err = r.jwt(s, k.Tokens, now)
	default:
		err = &Denied{Why: fmt.Sprintf("auth %q is no kind of credential", string(r.Kind))}
	}
	if err == nil && r.AppCheck != nil {
		err = r.AppCheck.check(s.AppCheck, k.AppCheck, now)
	}
	switch {
	case err != nil:
		return Identity{}, err
	case id.From != "" && s.From != "" && s.From != id.From:
		return Identity{}, &NotAllowed{"from is another device's than this credential's: leave it out, or log in as that device"}
	case id.Category != "" && s.Category != "" && s.Category != id.Category:
		return Identity{}, &NotAllowed{"category is another app's than this credential's: leave it out"}
	}
	return id, nil
}

// bearer is the token that is shown.
func (s Shown) bearer() (string, error) {
	scheme, token, _ := strings.Cut(s.Authorization, " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "bearer"):
		token = s.Bearer
	case s.Bearer != "" && s.Bearer != token:
		return "", &Denied{Why: "two tokens that are not the same: show one"}
	}
	switch {
	case token == "":
		return "", &Denied{Why: "no bearer token", none: true}
	case len(token) > MaxToken:
		return "", &Denied{Why: fmt.Sprintf("the token is longer than %d KiB", MaxToken>>10)}
	}
	return token, nil
}

// MaxToken bounds a token, in bytes. Those of login services have about 1 KiB.
const MaxToken = 8 << 10

func (r Rule) static(s Shown) error {
	token, err := s.bearer()
	if err != nil {
		return err
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(r.Token.Reveal()))
	if r.Token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return &Denied{Why: "the token is wrong"}
	}
	return nil
}
