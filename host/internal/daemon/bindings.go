package daemon

import (
	"context"
	"fmt"
	"strings"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/gateway"
)

// gatewayOf is the gateway of the session with a name, or with "" the only one.
func (h *host) gatewayOf(session string) (*gateway.Gateway, error) {
	var found *gateway.Gateway
	var names []string
	for _, t := range h.sessions.running() {
		g, ok := t.(gatewaySession)
		if !ok {
			continue
		}
		names = append(names, g.config.Name)
		if session == "" || session == g.config.Name {
			found = g.Gateway
		}
	}
	switch {
	case len(names) == 0:
		return nil, entry.NoSuch("no session has a gateway, so there are no users with devices")
	case session == "" && len(names) > 1:
		return nil, admin.Refusal{Err: fmt.Errorf("several sessions have a gateway, say which one: %s (--session NAME; session in the API)", strings.Join(names, ", "))}
	case found == nil:
		return nil, entry.NoSuch("there is no session %q with a gateway; there are %s", session, strings.Join(names, ", "))
	}
	return found, nil
}

func (h *host) bindings(q admin.BindingQuery) (page admin.BindingPage, err error) {
	g, err := h.gatewayOf(q.Session)
	if err != nil {
		return page, err
	}
	var all []gateway.Binding
	switch {
	case q.From != "":
		b, ok, lookErr := g.BindingFrom(q.From)
		if err = lookErr; ok {
			all = append(all, b)
		}
	case q.User != "":
		all, err = g.BindingsOf(q.User)
	default:
		all, page.Next, err = g.Bindings(q.After, q.Limit)
	}
	for _, b := range all {
		page.Bindings = append(page.Bindings, admin.Binding(b))
	}
	return page, err
}

// unbind goes on to the next device as long as the ledger takes it. With an error it
// returns what is done.
func (h *host) unbind(ctx context.Context, o admin.UnbindOrder) (did admin.Unbound, err error) {
	g, err := h.gatewayOf(o.Session)
	if err != nil {
		return did, err
	}
	for _, from := range o.From {
		had, err := g.Unbind(ctx, from)
		switch {
		case err != nil:
			return did, fmt.Errorf("%d devices are unbound, then: %w", did.Done, err)
		case had:
			did.Done++
		default:
			did.Gone = append(did.Gone, from)
		}
	}
	return did, nil
}
