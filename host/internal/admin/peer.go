package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
)

// peerKey is of the user at the other end of a unix socket.
type peerKey struct{}

// withPeer is net/http's ConnContext hook.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if l := limitedOf(c); l != nil {
		ctx = context.WithValue(ctx, connKey{}, l)
	}
	unix, ok := bare(c).(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(unix)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// bare is the connection below TLS and the limit.
func bare(c net.Conn) net.Conn {
	if l := limitedOf(c); l != nil {
		return l.Conn
	}
	return c
}

// limitedOf is the connection below TLS; nil if it has no limit.
func limitedOf(c net.Conn) *limitedConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	l, _ := c.(*limitedConn)
	return l
}

// connKey is of the connection of a request.
type connKey struct{}

// connOf is the connection of r; nil if it has no limit.
func connOf(r *http.Request) *limitedConn {
	c, _ := r.Context().Value(connKey{}).(*limitedConn)
	return c
}

// userOf is the user at the other end of a unix socket; "" when the system does not say.
func userOf(r *http.Request) string {
	uid, ok := r.Context().Value(peerKey{}).(uint32)
	if !ok {
		return ""
	}
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return fmt.Sprintf("user %s (uid %s)", u.Username, number)
	}
	return "uid " + number
}

// addressOf is from where r came.
func addressOf(r *http.Request) string {
	if who := userOf(r); who != "" {
		return "socket of " + who
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "socket"
	}
	return host
}
