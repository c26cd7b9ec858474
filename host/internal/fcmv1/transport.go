package fcmv1

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// links counts connections.
type links struct {
	dialled atomic.Uint64
	open    atomic.Int64
}

// newTransport carries requests over at most max connections. Each choice is measured
// or cited in fcm-v1-and-gateway.md A8:
//   - MaxConnsPerHost, because without it HTTP/2 dials for each request that waits.
//     StrictMaxConcurrentRequests, which seems to do the same, stalls.
//   - Pings, because nothing else finds a dead link. FCM closes a connection that pings
//     much more often.
//   - No Idempotency-Key in requests: net/http would send a request again that FCM may
//     have acted on. What it repeats without one is provably safe.
func (l *links) newTransport(max int, config *tls.Config) *http.Transport {
	config = config.Clone()
	config.MinVersion = tls.VersionTLS12
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        config,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        max,
		MaxIdleConnsPerHost:    max,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxBody,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 31 * time.Second, PingTimeout: 15 * time.Second},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			l.dialled.Add(1)
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			l.open.Add(1)
			return &link{Conn: conn, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		},
	}
}

// link is one connection that is counted.
type link struct {
	net.Conn
	closed func()
}

func (l *link) Close() error {
	l.closed()
	return l.Conn.Close()
}

// tokenClient asks for access tokens. It follows no redirects, which would take the
// signed assertion to another server.
func tokenClient(config *tls.Config, limit time.Duration) *http.Client {
	transport := (&links{}).newTransport(2, config)
	return &http.Client{
		Transport:     transport,
		Timeout:       limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
