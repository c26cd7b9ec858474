package gateway

import (
	"math"
	"net/http"
	"sync"
	"time"

	"balhost/host/internal/frame"

	"golang.org/x/time/rate"
)

// Spec: fcm-v1-and-gateway.md C5. An address is an IPv4 address, or the first 64 bits of an
// IPv6 address.
const (
	burst         = 100     // messages that a device may send at once, at least
	remembered    = 100_000 // devices, and addresses, whose rates are kept
	perAddress    = 50      // connections of an address
	requests      = 64      // of an address that are not answered: HTTP/2 has 32 a connection
	handshakes    = 20      // connections of an address in a second
	failures      = 10      // credentials of an address that fit nothing, in a minute
	failureWindow = time.Minute
)

// limits bound what devices and addresses may do.
type limits struct {
	devices *lru[*rate.Limiter]
	rates   *lru[*rates] // of addresses

	mu     sync.Mutex // guards what follows: each has what is there now
	conns  map[string]int
	asking map[string]int
}

type rates struct{ handshakes, failures *rate.Limiter }

func newLimits(o *Options) *limits {
	return &limits{
		devices: newLRU(remembered, func() *rate.Limiter { return rate.NewLimiter(rate.Limit(o.Rate), max(burst, o.Rate)) }),
		rates: newLRU(remembered, func() *rates {
			return &rates{rate.NewLimiter(handshakes, handshakes), rate.NewLimiter(rate.Every(failureWindow/failures), failures)}
		}),
		conns: map[string]int{}, asking: map[string]int{},
	}
}

// allow reports whether the device may send one more message now, and counts it.
func (g *Gateway) allow(from string) bool { return g.limits.devices.get(from).Allow() }

// wait is 0 if the device may send n more messages now, and counts them; else how long it
// has to wait.
func (l *limits) wait(from string, n int) time.Duration {
	r := l.devices.get(from)
	now := time.Now()
	if r.AllowN(now, n) {
		return 0
	}
	missing := float64(n) - r.TokensAt(now)
	return max(time.Second, time.Duration(math.Ceil(missing/float64(r.Limit())))*time.Second)
}

// connect counts one more connection of an address. It says by which limit not.
func (l *limits) connect(key string) (limit string) {
	if !l.rates.get(key).handshakes.Allow() {
		return "connections a second of one address"
	}
	if !add(l, l.conns, key, perAddress) {
		return "connections of one address"
	}
	return ""
}

func (l *limits) disconnect(key string) { remove(l, l.conns, key) }

// add counts one more of a key, up to most.
func add(l *limits, of map[string]int, key string, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of[key] == most {
		return false
	}
	of[key]++
	return true
}

func remove(l *limits, of map[string]int, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of[key]--; of[key] == 0 {
		delete(of, key)
	}
}

// visit begins a request of p, and leave ends it.
func (g *Gateway) visit(p peer) *refusal {
	if p.free {
		return nil
	}
	if no := g.barred(p); no != nil {
		return no
	}
	if !add(g.limits, g.limits.asking, p.key, requests) {
		g.limited(p.key, "requests at once of one address")
		return &refusal{http.StatusTooManyRequests, frame.CodeTooMany, "too many requests at once from this address", time.Second}
	}
	return nil
}

func (g *Gateway) leave(p peer) {
	if !p.free {
		remove(g.limits, g.limits.asking, p.key)
	}
}

// barred is why p may show no credential now: too many were wrong.
func (g *Gateway) barred(p peer) *refusal {
	if p.free || g.limits.rates.get(p.key).failures.Tokens() >= 1 {
		return nil
	}
	g.limited(p.key, "wrong credentials a minute of one address")
	return &refusal{http.StatusTooManyRequests, frame.CodeTooMany, "too many wrong credentials from this address", failureWindow / failures}
}

// failed counts a wrong credential.
func (g *Gateway) failed(p peer, why string) {
	g.deny(p.key, why)
	if !p.free {
		g.limits.rates.get(p.key).failures.Allow()
	}
}
