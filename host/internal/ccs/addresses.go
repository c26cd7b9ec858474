package ccs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"balhost/host/internal/xmpp"
)

// addresses are those behind the name in Options.Address, and how the last
// connection to each went. One of them may take connections and serve none, or lose
// what is large: the next connection begins at another one.
type addresses struct {
	mu    sync.Mutex // guards what follows
	known []string   // at the last look, in the resolver's order
	marks map[string]mark
}

// mark is how the last connection to an address went.
type mark struct {
	failed bool
	at     time.Time
}

// addressTime bounds what one address may take of Options.Login while there are others.
const addressTime = 10 * time.Second

// find looks the name up, and gives its addresses in the order in which to try
// them: those that worked last, those that are new, those that failed, the
// longest ago first. While the resolver fails, the ones that are known are used.
func (p *addresses) find(ctx context.Context, o *Options) ([]string, error) {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil || o.Lookup == nil {
		return []string{o.Address}, nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{o.Address}, nil
	}
	found, err := o.Lookup(ctx, host)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && len(found) == 0:
		err = errors.New("the name has no address")
	case err == nil:
		p.known = nil
		for _, ip := range found {
			if at := net.JoinHostPort(ip.Unmap().String(), port); !slices.Contains(p.known, at) {
				p.known = append(p.known, at)
			}
		}
	}
	if len(p.known) == 0 {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	for at := range p.marks {
		if !slices.Contains(p.known, at) {
			delete(p.marks, at)
		}
	}
	all := slices.Clone(p.known)
	slices.SortStableFunc(all, func(a, b string) int {
		x, y := p.marks[a], p.marks[b]
		if x.failed && y.failed {
			return x.at.Compare(y.at)
		}
		return x.rank() - y.rank()
	})
	return all, nil
}

func (m mark) rank() int {
	switch {
	case m.failed:
		return 2
	case m.at.IsZero():
		return 1
	}
	return 0
}

// note marks how a connection to an address went.
func (p *addresses) note(at string, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marks == nil {
		p.marks = map[string]mark{}
	}
	p.marks[at] = mark{failed, time.Now()}
}

// connect tries the addresses one after the other, each up to the end of the
// login, within Options.Login together. When CCS denies the account at one, the
// others are not tried: they would do the same.
func (c *conn) connect(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.o.Login)
	defer cancel()
	all, err := c.s.addresses.find(ctx, &c.s.o)
	if err != nil {
		return nil, err
	}
	var failed addressesError
	for i, at := range all {
		if i > 0 && c.s.o.Connects.Wait(ctx) != nil {
			break
		}
		st, err := c.try(ctx, at, len(all)-i)
		if err == nil {
			c.s.addresses.note(at, false)
			return st, nil
		}
		if deniesAccount(err) {
			return nil, err
		}
		c.s.addresses.note(at, true)
		if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return nil, failed[0]
	}
	return nil, failed
}

// try connects to one address and logs in; left is how many there are to try yet,
// this one included.
func (c *conn) try(ctx context.Context, at string, left int) (*stream, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(addressTime, time.Until(deadline)/time.Duration(left)))
		defer cancel()
	}
	c.goTo(at)
	nc, err := c.dial(ctx, at)
	if errors.As(err, new(*TrustError)) {
		others, bad := c.s.trust.renew(ctx, c.s.o.Roots)
		if bad != nil {
			err = fmt.Errorf("%w; the roots can't be read again: %w", err, bad)
		} else if others {
			nc, err = c.dial(ctx, at)
		}
	}
	if err != nil {
		return nil, err
	}
	c.enter(Opening)
	st, err := c.open(ctx, nc)
	if err != nil {
		nc.Close()
		return nil, c.s.hide(err)
	}
	return st, nil
}

// goTo notes which address the connection is dialling.
func (c *conn) goTo(at string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.addr = at
	c.state, c.since = Dialing, time.Now()
}

// where names the other end: the address in the config, and what it resolved to.
func (c *conn) where() string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.addr == "" || c.addr == c.s.o.Address {
		return c.s.o.Address
	}
	return c.s.o.Address + " (" + c.addr + ")"
}

// deniesAccount reports whether CCS denied the account, which it would do at any
// other address. A server that offers no login that we know, or does not know the
// domain, may not be CCS: it says nothing of the account.
func deniesAccount(err error) bool {
	var auth *xmpp.AuthError
	var ended *xmpp.StreamError
	switch {
	case errors.As(err, &auth):
		return !auth.Temporary() && auth.Condition != "invalid-mechanism"
	case errors.As(err, &ended):
		return ended.Condition == "policy-violation" || ended.Condition == "not-authorized"
	}
	return false
}

// addressesError is why each of several addresses failed.
type addressesError []error

func (e addressesError) Error() string {
	var texts []string
	for _, err := range e {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (e addressesError) Unwrap() []error { return e }
