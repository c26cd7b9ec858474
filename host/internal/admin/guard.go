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

// guard finds out who calls. It rejects web pages: a page in a
// browser on this machine can reach loopback too.
type guard struct {
	token string // "": none is needed
	unix  bool   // a socket's file mode says who may connect
	next  http.Handler
}

func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	writeWithin(w, 0) // the connection's last request may have left a deadline
	if r.ContentLength != 0 {
		readWithin(w, requestLimit)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case g.rebound(r):
		fail(w, http.StatusForbidden, fmt.Errorf("host %q is not a name of this machine: ask for 127.0.0.1 or localhost", r.Host))
	case foreign(r):
		fail(w, http.StatusForbidden, fmt.Errorf("a page of another site sent this request; this API is for programs on this machine"))
	default:
		g.next.ServeHTTP(w, g.caller(r).with(r))
	}
}

// readWithin and writeWithin limit the time to read a body and to write an answer; 0
// means no limit. A recorder in a test has no deadlines.
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

// rebound reports DNS rebinding: a browser came here through the name of another
// site that now points to this machine. With a token this does no harm, because the
// page doesn't know the token.
func (g guard) rebound(r *http.Request) bool {
	return !g.unix && g.token == "" && !config.Loopback(hostname(r.Host))
}

// foreign reports whether a page of another origin sent this request. Programs send
// neither header.
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

// caller is who sent r.
func (g guard) caller(r *http.Request) caller {
	if g.token == "" {
		return caller{role: Admin}
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token)) // equal lengths: the time to compare reveals nothing
	if !ok || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return caller{}
	}
	return caller{who: "token", role: Admin}
}

// hostname is the name in a Host header, without port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
