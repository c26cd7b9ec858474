package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"balhost/host/internal/told"
)

// PauseOrder says what to pause, or to resume: a plugin, one device or one lane of a plugin, or
// a session.
type PauseOrder struct {
	Plugin   string `json:"plugin,omitempty"`
	Device   string `json:"device,omitempty"`   // only what is this device's at the plugin; its whole token, and to resume also the shortened one
	Lane     string `json:"lane,omitempty"`     // only what has this ordering key at the plugin; to resume also the shortened one
	Session  string `json:"session,omitempty"`  // this session; with a device: the one that it belongs to
	Intake   bool   `json:"intake,omitempty"`   // of the session, only what comes in
	Delivery bool   `json:"delivery,omitempty"` // of the session, only what goes out; neither: both
}

// Check says what is wrong with o.
func (o PauseOrder) Check() error {
	switch {
	case o.Plugin == "" && o.Session == "":
		return errors.New("say what: a plugin, or a session")
	case o.Plugin == "" && o.Device != "":
		return errors.New("a device is paused at one plugin: say which")
	case o.Plugin == "" && o.Lane != "":
		return errors.New("a lane is paused at one plugin: say which")
	case o.Lane != "" && (o.Device != "" || o.Session != ""):
		return errors.New("a lane by an ordering key is of all devices and sessions: leave those out")
	case o.Plugin != "" && (o.Intake || o.Delivery):
		return errors.New("intake and delivery are of a session, not of a plugin")
	case o.Plugin != "" && o.Session != "" && o.Device == "":
		return errors.New("say a plugin or a session, or one device of both")
	}
	return nil
}

// Pause is one thing that a person has paused.
type Pause struct {
	Plugin   string    `json:"plugin,omitempty"`
	Device   string    `json:"device,omitempty"` // shortened
	Lane     string    `json:"lane,omitempty"`   // its ordering key, shortened
	Session  string    `json:"session,omitempty"`
	SenderID string    `json:"sender_id,omitempty"`
	Part     string    `json:"part,omitempty"` // of a session: intake or delivery
	Since    time.Time `json:"since,omitzero"` // absent: before this version
	Resume   string    `json:"resume"`         // the command that ends it
}

// Sentence says it to a person.
func (p Pause) Sentence(now time.Time) string {
	since := ""
	if !p.Since.IsZero() {
		since = fmt.Sprintf(" since %s (%s ago)", told.Stamp(p.Since), now.Sub(p.Since).Round(time.Second))
	}
	what := fmt.Sprintf("plugin %q is paused%s, and its events wait", p.Plugin, since)
	switch {
	case p.Part == "intake":
		what = fmt.Sprintf("the intake of session %q is paused%s: nothing that comes is stored or acked, and it comes again", p.Session, since)
	case p.Part == "delivery":
		what = fmt.Sprintf("the delivery of session %q is paused%s: its downstreams wait, and expire", p.Session, since)
	case p.Lane != "":
		what = fmt.Sprintf("lane %q is paused at plugin %q%s, and its messages wait", p.Lane, p.Plugin, since)
	case p.Device != "":
		what = fmt.Sprintf("device %q is paused at plugin %q%s, and its messages wait", p.Device, p.Plugin, since)
	}
	return what + "; " + p.Resume
}

// PausePage lists what is paused.
type PausePage struct {
	Pauses []Pause `json:"pauses"`
}

func (a api) pauses(w http.ResponseWriter, r *http.Request) {
	page, err := a.Pauses(r.Context())
	page.Pauses = notNull(page.Pauses)
	a.answer(w, r, page, err)
}

// pauseBy is a change of what is paused; verb says which, afterwards.
func (a api) pauseBy(verb string, do func(context.Context, PauseOrder) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o PauseOrder
		if !read(w, r, &o) {
			return
		}
		if err := o.Check(); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		err := do(r.Context(), o)
		if err == nil {
			a.did(r, "%s %s", verb, o.what())
		}
		a.answer(w, r, done{Done: 1}, err)
	}
}

// what is paused or resumed, without the device's token and the ordering key.
func (o PauseOrder) what() string {
	switch {
	case o.Device != "":
		return "a device of plugin " + o.Plugin
	case o.Lane != "":
		return "a lane of plugin " + o.Plugin
	case o.Plugin != "":
		return "plugin " + o.Plugin
	case o.Intake && !o.Delivery:
		return "the intake of session " + o.Session
	case o.Delivery && !o.Intake:
		return "the delivery of session " + o.Session
	}
	return "session " + o.Session
}

// Pauses lists what is paused.
func (c *Client) Pauses(ctx context.Context) (PausePage, error) {
	return ask[PausePage](ctx, c, http.MethodGet, "/v1/pauses", nil)
}

// Pause pauses something until Resume. A restart of the host keeps it.
func (c *Client) Pause(ctx context.Context, o PauseOrder) error {
	_, err := ask[done](ctx, c, http.MethodPost, "/v1/pauses", o)
	return err
}

// Resume undoes Pause.
func (c *Client) Resume(ctx context.Context, o PauseOrder) error {
	_, err := ask[done](ctx, c, http.MethodPost, "/v1/pauses/resume", o)
	return err
}
