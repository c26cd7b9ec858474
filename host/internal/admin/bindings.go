package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Binding is a device that a user of a session's gateway has.
type Binding struct {
	// User is who signed in; a name of more than 256 bytes is "sha256:" and its hash. "": no
	// user can have this device, because a credential names it.
	User string    `json:"user,omitempty"`
	From string    `json:"from"`
	Used time.Time `json:"used,omitzero"` // within a day; zero where no user has it
}

// BindingQuery asks for the devices of all users, of one user, or for one device.
type BindingQuery struct {
	Session    string // "": the only one with a gateway
	User, From string // "": any
	After      string // with neither of them: the Next of the page before
	Limit      int    // users a page
}

// BindingPage is a part of the devices of users, in the order of users. Next is the "after"
// that asks for the next page; "" on the last one.
type BindingPage struct {
	Bindings []Binding `json:"bindings"`
	Next     string    `json:"next,omitempty"`
}

// UnbindOrder names devices that are to be taken from their users.
type UnbindOrder struct {
	Session string   `json:"session,omitempty"` // "": the only one with a gateway
	From    []string `json:"from"`
}

// Unbound is the result of an UnbindOrder. Gone are those that nobody had.
type Unbound struct {
	Done int      `json:"done"`
	Gone []string `json:"gone,omitempty"`
}

func (a api) bindings(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := limitOf(query)
	if err == nil && query.Has("user") && query.Has("from") {
		err = errors.New("give either user or from")
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	page, err := a.Bindings(BindingQuery{Session: query.Get("session"), User: query.Get("user"), From: query.Get("from"), After: query.Get("after"), Limit: limit})
	page.Bindings = notNull(page.Bindings)
	a.answer(w, r, page, err)
}

func (a api) unbind(w http.ResponseWriter, r *http.Request) {
	var o UnbindOrder
	if !read(w, r, &o) {
		return
	}
	if len(o.From) == 0 || len(o.From) > maxPage || slices.Contains(o.From, "") {
		fail(w, http.StatusBadRequest, fmt.Errorf(`give 1 to %d devices: {"from": ["…"]}`, maxPage))
		return
	}
	did, err := a.Unbind(r.Context(), o)
	a.didSome(r, did.Done, err, "took %s from their users", several(did.Done, "device"))
	a.answer(w, r, did, err)
}

// Bindings lists which device belongs to which user of a gateway.
func (c *Client) Bindings(ctx context.Context, q BindingQuery) (BindingPage, error) {
	query := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	for key, value := range map[string]string{"session": q.Session, "user": q.User, "from": q.From, "after": q.After} {
		if value != "" {
			query.Set(key, value)
		}
	}
	return ask[BindingPage](ctx, c, http.MethodGet, "/v1/bindings?"+query.Encode(), nil)
}

// Unbind takes devices from their users.
func (c *Client) Unbind(ctx context.Context, o UnbindOrder) (Unbound, error) {
	return ask[Unbound](ctx, c, http.MethodPost, "/v1/bindings/delete", o)
}
