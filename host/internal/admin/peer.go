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
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if l, ok := c.(*limitedConn); ok {
		c = l.Conn
	}
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
