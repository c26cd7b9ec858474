package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// peer is where a request comes from.
type peer struct {
	key  string // the address that limits count by, as text
	free bool   // it stands for many devices, so it has no limits: this machine, or a proxy that did not say for whom it asks
}

// peerOf is where r comes from. What X-Forwarded-For says counts only if a trusted proxy
// has sent it. Spec: fcm-v1-and-gateway.md C5.
func (g *Gateway) peerOf(r *http.Request) peer {
	direct, ok := addressOf(r.RemoteAddr)
	if !g.trusts(direct, ok) {
		return peerAt(direct, ok)
	}
	forwarded, found := g.forwarded(r.Header.Values("X-Forwarded-For"))
	if !found {
		p := peerAt(direct, ok)
		p.free = true
		return p
	}
	return peerAt(forwarded, true)
}

// peerAt is the peer at an address. ok is false for a unix socket.
func peerAt(a netip.Addr, ok bool) peer {
	if !ok {
		return peer{"unix", true}
	}
	return peer{group(a), a.IsLoopback()}
}

// peerNamed is the peer with this key.
func (g *Gateway) peerNamed(key string) peer {
	if p, err := netip.ParsePrefix(key); err == nil {
		return peer{key, g.trusts(p.Addr(), true)}
	}
	a, ok := addressOf(key)
	return peer{key, a.IsLoopback() || g.trusts(a, ok)}
}

// trusts reports whether a connection from an address may say for whom it asks. A unix
// socket has no address; who can open it is trusted.
func (g *Gateway) trusts(a netip.Addr, ok bool) bool {
	if !ok {
		return true
	}
	for _, p := range g.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// forwarded is the rightmost address that no trusted proxy has. All left of it can be a
// client's invention.
func (g *Gateway) forwarded(headers []string) (a netip.Addr, found bool) {
	all := strings.Split(strings.Join(headers, ","), ",")
	for i := len(all) - 1; i >= 0; i-- {
		next, ok := addressOf(strings.TrimSpace(all[i]))
		if !ok {
			return a, found
		}
		a, found = next, true
		if !g.trusts(a, true) {
			return a, found
		}
	}
	return a, found
}

// addressOf reads an address with or without a port.
func addressOf(s string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// group is what counts as one address: of IPv6 the first 64 bits, because one household
// has so many.
func group(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil { // an IPv6 address has 64 bits
		return a.String()
	}
	return p.String()
}
