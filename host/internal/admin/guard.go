package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/config"
)

// guard refuses who may not ask: a web page in a browser on this machine, which
// can reach loopback too, and whoever lacks the token.
type guard struct {
	token string // "": none is needed
	unix  bool   // a socket's file mode says who may connect
	next  http.Handler
}

func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	writeWithin(w, 0) // whatever the connection's last request has left
	if r.ContentLength != 0 {
		readWithin(w, requestLimit)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case g.rebound(r):
		fail(w, http.StatusForbidden, fmt.Errorf("host %q is not a name of this machine: ask for 127.0.0.1 or localhost", r.Host))
	case foreign(r):
		fail(w, http.StatusForbidden, fmt.Errorf("asked by a page of another site; this API is for this machine's programs"))
	case !g.allowed(r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		fail(w, http.StatusUnauthorized, fmt.Errorf("this host wants the token of its config's admin block: Authorization: Bearer TOKEN"))
	default:
		g.next.ServeHTTP(w, r)
	}
}

// readWithin and writeWithin bound a body's reading and an answer's writing; 0:
// nothing does. A test's recorder has no deadlines.
func readWithin(w http.ResponseWriter, limit time.Duration) {
	_ = http.NewResponseController(w).SetReadDeadline(deadline(limit))
}

func writeWithin(w http.ResponseWriter, limit time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(deadline(limit))
}

func deadline(limit time.Duration) time.Time {
	if limit == 0 {
		return time.Time{}
	}
	return time.Now().Add(limit)
}

// rebound reports whether a browser was led here by a name of another site
// that now points to this machine. With a token that does no harm: the page
// can't know it.
func (g guard) rebound(r *http.Request) bool {
	return !g.unix && g.token == "" && !config.Loopback(hostname(r.Host))
}

// foreign reports whether a page of another origin makes the browser ask.
// Programs send neither header.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}

// allowed reports whether the request has the token, or needs none, as probes do.
func (g guard) allowed(r *http.Request) bool {
	if g.token == "" || r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token)) // equal lengths: the time tells nothing
	return ok && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// hostname is the name in a Host header, without port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
