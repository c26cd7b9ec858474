package admin

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// door finds out who calls. Many goroutines use it.
type door struct {
	unix     bool           // a socket's file mode says who may connect
	secure   bool           // TLS
	instance string         // stands for this run of this host; logins end with it
	tokens   func() []Token // of the config that is in force; none: whoever connects has the role admin
	attempts attempts
	logins   logins
}

// open reports whether no token is needed.
func (d *door) open() bool { return len(d.tokens()) == 0 }

// tooSoon is the answer to a token that comes behind too many wrong ones.
type tooSoon struct{ wait time.Duration }

func (t tooSoon) Error() string {
	return fmt.Sprintf("too many wrong tokens came from your address: try again in %s", t.wait.Round(time.Second)+time.Second)
}

// errWrongToken says that a token is not one of the config's.
var errWrongToken = errors.New("the token is not one of the admin block of config.hcl, or not one any more")

// errCrossed says that a browser's request may have been made by another site.
var errCrossed = errors.New("only a page of this host may send this with a login: the browser must send Origin with the name that is in its address bar; a program sends Authorization: Bearer TOKEN")

// caller is who sent r. With an error it has no role.
func (d *door) caller(r *http.Request) (caller, error) {
	if d.open() {
		return caller{who: d.local(r), role: Admin}, nil
	}
	if given := r.Header.Get("Authorization"); given != "" {
		secret, bearer := strings.CutPrefix(given, "Bearer ")
		if !bearer {
			return caller{}, errWrongToken
		}
		token, err := d.known(r, secret)
		if err != nil {
			return caller{}, err
		}
		return caller{who: token.who(), role: token.Role}, nil
	}
	given, err := r.Cookie(d.cookieName("balhost_login"))
	if err != nil {
		return caller{}, nil //nolint:nilerr // no cookie: nobody
	}
	sum, ok := d.logins.token(given.Value, d.bound(r), time.Now())
	token, known := tokenOf(d.tokens(), sum)
	switch {
	case !ok || !known:
		return caller{}, nil
	case r.Method != http.MethodGet && r.Method != http.MethodHead && !own(r):
		return caller{}, errCrossed
	}
	return caller{who: token.who() + " on the page", role: token.Role, login: given.Value}, nil
}

// known is the token with that secret. It counts wrong ones.
func (d *door) known(r *http.Request, secret string) (Token, error) {
	from, sum, now := place(r.RemoteAddr), sumOf(secret), time.Now()
	if wait := d.attempts.wait(from, sum, now); wait > 0 {
		return Token{}, tooSoon{wait}
	}
	token, ok := tokenOf(d.tokens(), sum)
	if !ok {
		d.attempts.failed(from, sum, now)
		return Token{}, errWrongToken
	}
	return token, nil
}

// who is a token in the audit log.
func (t Token) who() string {
	if t.Name == "" {
		return "token"
	}
	return "token " + t.Name
}

// local is who connects where no token is needed.
func (d *door) local(r *http.Request) string {
	if d.unix {
		return cmp.Or(userOf(r), "socket")
	}
	return "loopback"
}

// own reports whether a browser says that a page of this host sent r.
func own(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site") // browsers send it to TLS and loopback only
	return r.Header.Get("Origin") != "" && !foreign(r) && (site == "" || site == "same-origin")
}
