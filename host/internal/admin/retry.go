package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Retry is one event that was not handled and waits for its next attempt. Its lane
// waits with it.
type Retry struct {
	ID       string    `json:"id"`
	Plugin   string    `json:"plugin"`
	Kind     string    `json:"kind"` // upstream, outcome or receipt
	Category string    `json:"category,omitempty"`
	From     string    `json:"from,omitempty"` // the device of an upstream
	Attempts int       `json:"attempts"`       // so far
	Next     time.Time `json:"next"`           // the next attempt is not before this
	Behind   int       `json:"behind"`         // events in its lane that wait for this one
	Reason   string    `json:"reason,omitempty"`
}

// RetryPage lists what waits for its next attempt, the soonest first.
type RetryPage struct {
	Retries []Retry   `json:"retries"`
	Total   int       `json:"total"` // how many wait; Retries has the first of them
	Now     time.Time `json:"now"`   // by the host's clock
}

// RetryOrder says what to try now. Exactly one field is set.
type RetryOrder struct {
	IDs    []string `json:"ids,omitempty"`    // events by their ids, downstreams by their message ids
	Plugin string   `json:"plugin,omitempty"` // all events of this plugin
	All    bool     `json:"all,omitempty"`    // all events
}

// Clear reports whether o says that: one of the fields, and not too many ids.
func (o RetryOrder) Clear() bool {
	given := 0
	for _, yes := range []bool{len(o.IDs) > 0, o.Plugin != "", o.All} {
		if yes {
			given++
		}
	}
	return given == 1 && len(o.IDs) <= maxPage
}

func (a api) retries(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	page, err := a.Retries(r.Context(), r.URL.Query().Get("plugin"), limit)
	page.Retries = notNull(page.Retries)
	for i := range page.Retries {
		page.Retries[i].From = a.deviceFor(r, page.Retries[i].From)
	}
	a.answer(w, r, page, err)
}

func (a api) retryNow(w http.ResponseWriter, r *http.Request) {
	var o RetryOrder
	if !read(w, r, &o) {
		return
	}
	if !o.Clear() {
		fail(w, http.StatusBadRequest, fmt.Errorf(`say what to try now: {"ids": ["…"]} with 1 to %d messages, {"plugin": "NAME"}, or {"all": true}`, maxPage))
		return
	}
	did, err := a.RetryNow(r.Context(), o)
	a.didSome(r, did.Done, err, "tried %s now", several(did.Done, "message"))
	a.answer(w, r, did, err)
}

// limitOf is the limit that the query asks for.
func limitOf(query url.Values) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, fmt.Errorf("limit %q: want a number from 1 to %d", text, maxPage)
	}
	return n, nil
}

// Retries lists at most limit events that wait for their next attempt; plugin "" means all.
func (c *Client) Retries(ctx context.Context, plugin string, limit int) (RetryPage, error) {
	query := url.Values{"plugin": {plugin}, "limit": {strconv.Itoa(limit)}}
	return ask[RetryPage](ctx, c, http.MethodGet, "/v1/retries?"+query.Encode(), nil)
}

// RetryNow makes the host try events now. It returns how many, and the named ids that were not waiting.
func (c *Client) RetryNow(ctx context.Context, o RetryOrder) (Ordered, error) {
	if !o.Clear() {
		return Ordered{}, errors.New("ask for 1 to 1000 messages, a plugin's events, or all events")
	}
	return ask[Ordered](ctx, c, http.MethodPost, "/v1/retries/now", o)
}
