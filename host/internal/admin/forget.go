package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"balhost/host/internal/entry"
)

// ForgetOrder says what becomes of what a plugin has that is gone for good.
type ForgetOrder struct {
	Delete bool `json:"delete,omitempty"` // what waits is deleted, and dead letters too; else what waits becomes dead letters
	State  bool `json:"state,omitempty"`  // its state is deleted; else it stays
	Plan   bool `json:"plan,omitempty"`   // only say what there is
}

func (a api) forget(w http.ResponseWriter, r *http.Request) {
	var o ForgetOrder
	if !read(w, r, &o) {
		return
	}
	did, err := a.Forget(r.Context(), r.PathValue("name"), o)
	did.Categories = notNull(did.Categories)
	if said := SaidForgotten(did, err); !o.Plan && said != "" {
		a.did(r, "plugin %s: %s", r.PathValue("name"), said)
	}
	if o.Plan && err == nil {
		a.did(r, "saw what there is of plugin %s; nothing was forgotten", r.PathValue("name"))
	}
	a.answer(w, r, did, err)
}

// SaidForgotten says in one sentence what became of what a plugin had; "": nothing did.
func SaidForgotten(f entry.Forgotten, err error) string {
	var parts []string
	if err == nil {
		parts = append(parts, "forgotten")
	}
	for _, part := range []struct {
		n          int
		thing, how string
	}{
		{f.Moved, "event", "went to the dead letters"}, {f.Deleted, "event", "deleted"}, {f.DeadDeleted, "dead letter", "deleted"}, {f.KeysDeleted, "state key", "deleted"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", several(part.n, part.thing), part.how))
		}
	}
	return strings.Join(parts, ", ")
}

// Forget forgets a plugin that is gone for good, or says what there is of it. It takes as long
// as much waits for it; Erasing says how far it is.
func (c *Client) Forget(ctx context.Context, plugin string, o ForgetOrder) (entry.Forgotten, error) {
	return ask[entry.Forgotten](ctx, c.long(), http.MethodPost, "/v1/plugins/"+url.PathEscape(plugin)+"/forget", o)
}
