package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"time"

	"balhost/host/internal/frame"

	"github.com/hashicorp/go-hclog"
)

// newServer makes the server, with a time limit for all that a device can be slow at.
// There is no limit for a whole read: it would cut slow devices that send all the time.
// Spec: fcm-v1-and-gateway.md C5.
func (g *Gateway) newServer() *http.Server {
	return &http.Server{
		Handler:                      timed(g.cors(g.routes())),
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headerLimit,
		IdleTimeout:                  75 * time.Second,
		MaxHeaderBytes:               16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          32,
			MaxReceiveBufferPerConnection: frame.MaxBody,
			MaxReceiveBufferPerStream:     frame.MaxFrame,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              answerLimit,
		},
		ErrorLog:  log.New(serverLog{g.log}, "", 0),
		ConnState: began,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, connOf(nc))
		},
	}
}

// timed ends a request whose body does not come in time, or whose answer is not written in
// time, whoever reads and writes them. A refusal reads no body, but net/http does after it.
// Who has read a body whole takes its limit away.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control, now := http.NewResponseController(w), time.Now()
		_ = control.SetReadDeadline(now.Add(bodyLimit)) // net/http's connections have deadlines
		_ = control.SetWriteDeadline(now.Add(wholeLimit))
		next.ServeHTTP(w, r)
	})
}

// wholeLimit is for all of a request. Its body may take 10 s, and a commit takes milliseconds.
const wholeLimit = time.Minute

// connKey is the key of a request's context for its *conn.
type connKey struct{}

// connOf is the conn below nc.
func connOf(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn) // guard accepts no others
	return c
}

// began tells a connection that its first request has begun.
func began(nc net.Conn, state http.ConnState) {
	if c := connOf(nc); c != nil && state == http.StateActive {
		c.begin()
	}
}

// serverLog takes what net/http has to say: of a panic an error, of clients that do
// anything wrong as little as possible.
type serverLog struct{ log hclog.Logger }

// Write implements [io.Writer].
func (l serverLog) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("panic")) {
		l.log.Error("gateway: a request has failed", "err", string(b))
	} else {
		l.log.Debug("gateway", "err", string(bytes.TrimSpace(b)))
	}
	return len(b), nil
}

// routes are all that a gateway serves. Anything else is 404, and the admin API is never
// one of them.
func (g *Gateway) routes() http.Handler {
	p := paths{
		"POST " + frame.UpstreamPath: g.post(upstreams),
		"POST " + frame.ReceiptsPath: g.post(receipts),
		"GET " + frame.SocketPath:    g.serveSocket,
		"GET " + frame.HealthPath:    g.health,
	}
	if g.huawei != nil {
		g.huawei.routes(p)
	}
	return p
}

// paths are what serves each method and path, as in "POST /v1/upstream". Unlike a
// [http.ServeMux] they redirect nobody to a path that is like the one that was asked for.
type paths map[string]http.HandlerFunc

// ServeHTTP implements [http.Handler].
func (p paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http leaves the body out
	}
	if serve, ok := p[method+" "+r.URL.Path]; ok {
		serve(w, r)
		return
	}
	refuse(w, &refusal{status: http.StatusNotFound, code: frame.CodeNotFound, description: "nothing is here, or not for this method"})
}

// health is for balancers: 200 while new requests are welcome.
func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) {
	if g.sockets.registry.drains() {
		refuse(w, noRoom(frame.CodeNotReady, "the gateway restarts"))
		return
	}
	reply(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// serveSocket makes a WebSocket of a request, or answers why not.
func (g *Gateway) serveSocket(w http.ResponseWriter, r *http.Request) {
	p := g.peerOf(r)
	if no := g.visit(p); no != nil {
		refuse(w, no)
		return
	}
	defer g.leave(p)
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && c != nil && !c.standsFor(p) {
		refuse(w, &refusal{http.StatusTooManyRequests, frame.CodeTooMany, "too many connections of this address", time.Minute})
		return
	}
	shows := shown{bearer: bearer(r), authorization: r.Header.Get("Authorization"), appCheck: r.Header.Get("X-Firebase-AppCheck"), peer: p.key}
	if no := g.sockets.accept(context.WithoutCancel(r.Context()), w, r, shows); no != nil {
		refuse(w, no)
	}
}
