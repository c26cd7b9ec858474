package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/config"
)

// guard finds out who calls. It rejects web pages of others: a page in a browser on
// this machine can reach loopback too.
type guard struct {
	door *door
	next http.Handler
}

func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	writeWithin(w, 0) // the connection's last request may have left a deadline
	if r.ContentLength != 0 {
		readWithin(w, requestLimit)
	}
	protect(w.Header(), apiPolicy)
	if g.door.rebound(r) {
		fail(w, http.StatusForbidden, fmt.Errorf("host %q is not a name of this machine: ask for 127.0.0.1 or localhost", r.Host))
		return
	}
	who, err := g.door.caller(r)
	who.wrong = err
	connOf(r).belongs(who.role)
	who.still = func() bool {
		now, err := g.door.caller(r)
		return err == nil && now.role >= who.role
	}
	g.next.ServeHTTP(w, who.with(r))
}

// What browsers may do with an answer. An answer of the API is no page. A page gets all
// that it needs from this host, and nothing from a text within it.
const (
	apiPolicy  = "default-src 'none'; frame-ancestors 'none'"
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

// protect tells browsers what they may do with an answer. The referrer stays within this
// host; without any, forms would be sent with the origin "null".
func protect(h http.Header, policy string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
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
// page doesn't know the token. A browser comes to a unix socket too, through a port that
// ssh forwards. Programs name a socket's host as they like: a name without a dot and a
// port is nobody's in the world.
func (d *door) rebound(r *http.Request) bool {
	switch {
	case !d.open(), config.Loopback(hostname(r.Host)):
		return false
	case d.unix:
		return strings.ContainsAny(r.Host, ".:")
	}
	return true
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
	return err != nil || u.Host != r.Host || r.TLS != nil && u.Scheme != "https" // whoever is on the way can make a page of http://
}

// visit reports whether a person follows a link in r. That may come from another site,
// because a page shows itself to nobody else.
func visit(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// hostname is the name in a Host header, without port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
