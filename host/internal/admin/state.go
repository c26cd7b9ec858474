package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"balhost/host/internal/entry"
)

// StateOwners are plugins that have state, also those that are gone, by name. Next is the
// "after" that asks for the next page; "" on the last one.
type StateOwners struct {
	Owners []entry.StateOwner `json:"owners"`
	Next   string             `json:"next,omitempty"`
}

// StatePage is a part of a plugin's state, in the order of the keys' bytes. Next is the "after"
// that asks for the next page; "" on the last one.
type StatePage struct {
	Items []StateItem `json:"items"`
	Next  string      `json:"next,omitempty"`
}

// StateItem is one key of a plugin's state.
type StateItem struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// StateOrder says what of a plugin's state is to be deleted: one key, or all that begin with a
// prefix, which can be "".
type StateOrder struct {
	Key    *string `json:"key,omitempty"`
	Prefix *string `json:"prefix,omitempty"`
}

func (a api) stateOwners(w http.ResponseWriter, r *http.Request) {
	got, err := a.StateOwners(r.URL.Query().Get("after"))
	got.Owners = notNull(got.Owners)
	a.answer(w, r, StateOwners(got), err)
}

// state answers with a page, or with one key if the query names it.
func (a api) state(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := limitOf(query)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	plugin := r.PathValue("plugin")
	if query.Has("key") {
		value, err := a.StateValue(plugin, query.Get("key"))
		a.answer(w, r, StateItem{Key: query.Get("key"), Value: value}, err)
		return
	}
	got, err := a.State(plugin, entry.Span{Prefix: query.Get("prefix"), After: query.Get("after"), Keys: limit, Bytes: maxBody})
	page := StatePage{Items: []StateItem{}}
	for _, it := range got.Items {
		page.Items = append(page.Items, StateItem{Key: it.Key, Value: it.Value})
	}
	if got.More {
		page.Next = got.Items[len(got.Items)-1].Key
	}
	a.answer(w, r, page, err)
}

func (a api) deleteState(w http.ResponseWriter, r *http.Request) {
	var o StateOrder
	if !read(w, r, &o) {
		return
	}
	if (o.Key == nil) == (o.Prefix == nil) {
		fail(w, http.StatusBadRequest, errors.New(`give either {"key": "…"} or {"prefix": "…"}`))
		return
	}
	n, err := a.DeleteState(r.Context(), r.PathValue("plugin"), o)
	a.didSome(r, n, err, "deleted %s of the state of plugin %s", several(n, "key"), r.PathValue("plugin"))
	a.answer(w, r, done{Done: n}, err)
}

// StateOwners lists all plugins that have state.
func (c *Client) StateOwners(ctx context.Context) (all StateOwners, err error) {
	for next := ""; ; {
		page, err := ask[StateOwners](ctx, c, http.MethodGet, "/v1/state?"+url.Values{"after": {next}}.Encode(), nil)
		all.Owners = append(all.Owners, page.Owners...)
		if next = page.Next; err != nil || next == "" {
			return all, err
		}
	}
}

// State gives at most limit keys of a plugin that begin with prefix and are greater than after.
func (c *Client) State(ctx context.Context, plugin, prefix, after string, limit int) (StatePage, error) {
	query := url.Values{"prefix": {prefix}, "after": {after}, "limit": {strconv.Itoa(limit)}}
	return ask[StatePage](ctx, c, http.MethodGet, "/v1/state/"+url.PathEscape(plugin)+"?"+query.Encode(), nil)
}

// StateValue gives one key.
func (c *Client) StateValue(ctx context.Context, plugin, key string) (StateItem, error) {
	return ask[StateItem](ctx, c, http.MethodGet, "/v1/state/"+url.PathEscape(plugin)+"?"+url.Values{"key": {key}}.Encode(), nil)
}

// DeleteState deletes keys, and returns how many.
func (c *Client) DeleteState(ctx context.Context, plugin string, o StateOrder) (int, error) {
	did, err := ask[done](ctx, c, http.MethodPost, "/v1/state/"+url.PathEscape(plugin)+"/delete", o)
	return did.Done, err
}
