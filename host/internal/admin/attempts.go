package admin

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The bounds of wrong tokens. An address may try attemptsAtOnce different ones, and then one
// more each second.
const (
	attemptsAtOnce = 20
	attemptsEvery  = time.Second
	maxAddresses   = 1000 // that are remembered
	maxSame        = 8    // wrong tokens that are remembered of an address
)

// attempts slows down who guesses tokens. The same wrong token again is no guess, so a
// program with an old token does not shut out the others at its address.
type attempts struct {
	mu sync.Mutex // guards what follows
	of map[netip.Prefix]*guesses
}

// guesses are those from one address.
type guesses struct {
	full  time.Time // when all attempts are there again
	wrong []sum     // the last ones
}

// place is the address of a caller, as guesses count: one of IPv4, or a network of IPv6, in
// which one machine has all addresses. The zero value is a unix socket's.
func place(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if ip = ip.Unmap().WithZone(""); ip.Is4() || ip.IsLoopback() {
		bits = ip.BitLen()
	}
	p, _ := ip.Prefix(bits)
	return p
}

// wait is how long the address has to wait before it may try a token; 0: not at all.
func (a *attempts) wait(from netip.Prefix, token sum, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.of[from]
	if g == nil || slices.Contains(g.wrong, token) {
		return 0
	}
	return max(0, g.full.Sub(now)-(attemptsAtOnce-1)*attemptsEvery)
}

// failed notes a wrong token.
func (a *attempts) failed(from netip.Prefix, token sum, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.of[from]
	switch {
	case g != nil && slices.Contains(g.wrong, token):
		return
	case g == nil:
		g = &guesses{full: now}
		a.forget(now)
		a.of[from] = g
	}
	if g.full.Before(now) {
		g.full = now
	}
	g.full = g.full.Add(attemptsEvery)
	if g.wrong = append(g.wrong, token); len(g.wrong) > maxSame {
		g.wrong = slices.Delete(g.wrong, 0, 1)
	}
}

// forget makes room for one more address: those go that have all attempts again, or
// else the one that has them first. mu is held.
func (a *attempts) forget(now time.Time) {
	if a.of == nil {
		a.of = map[netip.Prefix]*guesses{}
	}
	if len(a.of) < maxAddresses {
		return
	}
	var first netip.Prefix
	for from, g := range a.of {
		if !g.full.After(now) {
			delete(a.of, from)
		} else if f := a.of[first]; f == nil || g.full.Before(f.full) {
			first = from
		}
	}
	if len(a.of) >= maxAddresses {
		delete(a.of, first)
	}
}
