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

// places are the network addresses behind a session's address, and what became
// of the connections to each. A name may have one that takes connections and
// serves none, or loses what is large; the next connection begins elsewhere.
type places struct {
	mu    sync.Mutex // guards what follows
	known []string   // at the last look, in the resolver's order
	marks map[string]mark
}

// mark is how the last connection to a place went.
type mark struct {
	failed bool
	at     time.Time
}

// placeTime bounds what one place may take of Options.Login while there are others.
const placeTime = 10 * time.Second

// find looks the address up, and gives the places in the order in which to try
// them: those that worked last, those that are new, those that failed, the
// longest ago first. While the resolver fails, those known before count.
func (p *places) find(ctx context.Context, o *Options) ([]string, error) {
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

// note marks how a connection to a place went.
func (p *places) note(at string, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marks == nil {
		p.marks = map[string]mark{}
	}
	p.marks[at] = mark{failed, time.Now()}
}

// connect tries the places one after the other, each up to the end of the login.
// CCS's word on who we are counts for all of them.
func (c *conn) connect(ctx context.Context) (*opened, error) {
	all, err := c.s.places.find(ctx, &c.s.o)
	if err != nil {
		return nil, err
	}
	var failed placesError
	for i, at := range all {
		if i > 0 && c.s.o.Connects.Wait(ctx) != nil {
			break
		}
		made, err := c.try(ctx, at, len(all)-i)
		if err == nil {
			c.s.places.note(at, false)
			return made, nil
		}
		if isVerdict(err) {
			return nil, err
		}
		c.s.places.note(at, true)
		if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return nil, failed[0]
	}
	return nil, failed
}

// try connects to one place and logs in; left is how many there are to try yet,
// this one included.
func (c *conn) try(ctx context.Context, at string, left int) (*opened, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(placeTime, time.Until(deadline)/time.Duration(left)))
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
	return &opened{nc, st}, nil
}

// goTo notes where the connection goes.
func (c *conn) goTo(at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place = at
	c.state, c.since = Dialing, time.Now()
}

// where names the other end: what the config says, and what that was found to be.
func (c *conn) where() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.place == "" || c.place == c.s.o.Address {
		return c.s.o.Address
	}
	return c.s.o.Address + " (" + c.place + ")"
}

// isVerdict reports whether err is CCS's word on the account: at another place it would
// be the same. That a server offers no login that we know, or knows not the domain, is none: it may not be CCS.
func isVerdict(err error) bool {
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

// placesError is why none of several places would do.
type placesError []error

func (e placesError) Error() string {
	var texts []string
	for _, err := range e {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (e placesError) Unwrap() []error { return e }
