package admin

import (
	"context"
	"errors"
	"net/http"

	"balhost/host/internal/status"
)

// Stuck is a handler that goes on after its time is up.
type Stuck struct {
	Plugin string `json:"plugin"`
	status.StuckHandler
	RunningSeconds float64 `json:"running_seconds"`
}

// StuckPage lists the handlers that are stuck, the oldest first. A process is ended before
// many of its handlers are.
type StuckPage struct {
	Stuck []Stuck `json:"stuck"`
}

// GiveUpOrder names the event of a stuck handler.
type GiveUpOrder struct {
	ID     string `json:"id"`
	Replay bool   `json:"replay,omitempty"` // put it at the end of its lane; else it becomes a dead letter
}

func (a api) stuck(w http.ResponseWriter, r *http.Request) {
	page, err := a.Stuck(r.Context())
	page.Stuck = notNull(page.Stuck)
	for i := range page.Stuck {
		page.Stuck[i].Device = a.deviceFor(r, page.Stuck[i].Device)
	}
	a.answer(w, r, page, err)
}

func (a api) giveUp(w http.ResponseWriter, r *http.Request) {
	var o GiveUpOrder
	if !read(w, r, &o) {
		return
	}
	if o.ID == "" {
		fail(w, http.StatusBadRequest, errors.New(`say which event: {"id": "…"}; GET /v1/stuck lists them`))
		return
	}
	err := a.GiveUp(r.Context(), o)
	if err == nil {
		became := "a dead letter"
		if o.Replay {
			became = "the last of its lane"
		}
		a.did(r, "gave up the handler of event %s, which is now %s", o.ID, became)
	}
	a.answer(w, r, done{Done: 1}, err)
}

// Stuck lists the handlers that are stuck now.
func (c *Client) Stuck(ctx context.Context) (StuckPage, error) {
	return ask[StuckPage](ctx, c, http.MethodGet, "/v1/stuck", nil)
}

// GiveUp ends the wait for a stuck handler.
func (c *Client) GiveUp(ctx context.Context, o GiveUpOrder) error {
	_, err := ask[done](ctx, c, http.MethodPost, "/v1/stuck/giveup", o)
	return err
}
