package fcmv1

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// links counts connections.
type links struct {
	dialled atomic.Uint64
	crowded atomic.Uint64 // of these, beside an open one of the same lane; see window
	open    atomic.Int64
}

// A lane is one transport with one connection, and the requests that are on it.
// net/http lets a connection over HTTP/2 go when it has no stream left, and dials
// another, whatever MaxConnsPerHost says. So each connection has a transport of its own
// here, with no more requests than FCM allows streams.
type lane struct {
	http.RoundTripper
	inFlight int
}

// lanes are the connections of a session.
type lanes struct {
	mu  sync.Mutex // guards inFlight of all
	all []*lane
}

func newLanes(l *links, o *Options) *lanes {
	if o.Transport != nil {
		return &lanes{all: []*lane{{RoundTripper: o.Transport}}}
	}
	all := &lanes{}
	for range o.Connections {
		all.all = append(all.all, &lane{RoundTripper: l.newTransport(1, o)})
	}
	return all
}

// pick is the lane with the fewest requests. done ends the request.
func (l *lanes) pick() (on *lane, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	on = slices.MinFunc(l.all, func(a, b *lane) int { return a.inFlight - b.inFlight })
	on.inFlight++
	return on, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		on.inFlight--
	}
}

// close lets go of connections that idle.
func (l *lanes) close() {
	for _, on := range l.all {
		if own, ok := on.RoundTripper.(*http.Transport); ok {
			own.CloseIdleConnections()
		}
	}
}

// newTransport carries requests over at most limit connections. Each choice is measured
// or cited in fcm-v1-and-gateway.md A8:
//   - MaxConnsPerHost, because without it HTTP/2 dials for each request that waits.
//     StrictMaxConcurrentRequests, which seems to do the same, stalls.
//   - Pings, because nothing else finds a dead link. FCM closes a connection that pings
//     much more often.
//   - No Idempotency-Key in requests: net/http would send a request again that FCM may
//     have acted on. What it repeats without one is provably safe.
func (l *links) newTransport(limit int, o *Options) *http.Transport {
	config := o.TLS.Clone()
	config.MinVersion = tls.VersionTLS12
	var own atomic.Int64 // open connections of this transport
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        config,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        limit,
		MaxIdleConnsPerHost:    limit,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxBody,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 31 * time.Second, PingTimeout: 15 * time.Second},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			l.dialled.Add(1)
			if own.Load() >= int64(limit) {
				l.crowded.Add(1)
			}
			conn, err := o.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			l.open.Add(1)
			own.Add(1)
			return &link{Conn: conn, closed: sync.OnceFunc(func() {
				l.open.Add(-1)
				own.Add(-1)
			})}, nil
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
func tokenClient(o *Options) *http.Client {
	return &http.Client{
		Transport:     (&links{}).newTransport(2, o),
		Timeout:       fetchLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
