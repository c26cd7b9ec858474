package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/gateway"
	"balhost/host/internal/ledger"
)

// eraseStage is what the running erasure does.
type eraseStage struct {
	mu sync.Mutex // guards is
	is admin.Erasing
}

func (s *eraseStage) now() admin.Erasing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is
}

func (s *eraseStage) set(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.is = admin.Erasing{Running: what != "", Stage: what}
	if what != "" {
		s.is.Since = time.Now()
	}
}

// erase takes the device from its users first: what the gateway keeps of it is in the ledger too.
func (h *host) erase(ctx context.Context, o admin.EraseOrder) (entry.Erased, error) {
	e := entry.Erasure{Names: o.Names(), Values: o.Values, Plan: o.Plan}
	if o.Session != "" {
		id, err := chosen(h.labels(), o.Session)
		if err != nil {
			return entry.Erased{}, err
		}
		e.Session = id
	}
	bindings, err := h.eraseBindings(ctx, e)
	if err != nil {
		return entry.Erased{}, err
	}
	defer h.eraseStage.set("")
	did, err := h.ledger.Erase(ctx, e, ledger.Watcher{Seen: h.dispatch.Seen, Gone: h.dispatch.Gone, Stage: h.eraseStage.set})
	if did.Bindings = bindings; o.Plan && bindings > 0 { // they will not stay
		did.Mentions = slices.DeleteFunc(did.Mentions, func(m entry.Mention) bool { return m.What == entry.MentionHost })
	}
	if errors.Is(err, ledger.ErrHeldByHandler) || errors.Is(err, ledger.ErrErasing) {
		err = admin.Refusal{Err: err}
	}
	return did, err
}

// eraseBindings takes the device from the users of gateways, or counts those who have it.
func (h *host) eraseBindings(ctx context.Context, e entry.Erasure) (n int, err error) {
	for _, t := range h.sessions.running() {
		g, ok := t.(gatewaySession)
		if !ok || e.Session != "" && g.config.SenderID != e.Session {
			continue
		}
		for _, name := range e.Names {
			had, err := bound(ctx, g.Gateway, name, e.Plan)
			if err != nil {
				return n, fmt.Errorf("bindings of session %s: %w", g.config.Name, err)
			}
			if had {
				n++
			}
		}
	}
	return n, nil
}

// bound reports whether somebody has a device, and takes it from them unless only a plan is asked for.
func bound(ctx context.Context, g *gateway.Gateway, name string, plan bool) (had bool, err error) {
	if plan {
		_, had, err = g.BindingFrom(name)
		return had, err
	}
	return g.Unbind(ctx, name)
}
