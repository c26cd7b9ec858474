package admin

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"balhost/host/internal/admin/audit"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
	"balhost/sdk/message"
)

// Bounds of one request.
const (
	maxBody = 1 << 20 // bytes
	maxPage = 1000    // dead letters in one answer; ids in one order
)

// api turns requests into calls of the host's functions.
type api struct {
	Functions
	door    *door
	site    []Page // for people, beside those of the login
	audit   *audit.Log
	metrics prometheus.Gatherer
	log     hclog.Logger
	streams *streams
	crowd   *crowd
	health  *health
}

func (a api) status(w http.ResponseWriter, r *http.Request) { answer(w, a.statusFor(r)) }

func (a api) plugins(w http.ResponseWriter, r *http.Request) {
	answer(w, Plugins{Plugins: a.statusFor(r).Plugins})
}

// Plugins are all plugins, by name.
type Plugins struct {
	Plugins []Plugin `json:"plugins"`
}

func (a api) send(w http.ResponseWriter, r *http.Request) {
	var m Message
	if !read(w, r, &m) {
		return
	}
	d, err := m.Checked()
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	id, err := a.Send(r.Context(), d)
	m.name(err)
	if err == nil {
		a.did(r, "stored downstream %s", named(id))
	}
	a.answer(w, r, sent{MessageID: id}, err)
}

// sent is the answer after a message was stored.
type sent struct {
	MessageID string `json:"message_id"`
}

// CancelOrder names downstreams by their message ids.
type CancelOrder struct {
	IDs     []string `json:"ids"`
	Session string   `json:"session,omitempty"` // only in the session with this name; "": in all
}

func (a api) cancel(w http.ResponseWriter, r *http.Request) {
	var o CancelOrder
	if !read(w, r, &o) {
		return
	}
	if len(o.IDs) == 0 || len(o.IDs) > maxPage || slices.Contains(o.IDs, "") {
		fail(w, http.StatusBadRequest, fmt.Errorf(`give 1 to %d message ids: {"ids": ["…"]}`, maxPage))
		return
	}
	did, err := a.Cancel(r.Context(), o)
	a.didSome(r, did.Done, err, "canceled %s", several(did.Done, "downstream"))
	a.answer(w, r, did, err)
}

func (a api) deadLetter(w http.ResponseWriter, r *http.Request) {
	letter, err := a.DeadLetter(r.PathValue("id"))
	a.answer(w, r, letter, err)
}

func (a api) replay(w http.ResponseWriter, r *http.Request) { a.order(w, r, "replayed", a.Replay) }

func (a api) deleteDead(w http.ResponseWriter, r *http.Request) {
	a.order(w, r, "deleted", a.DeleteDead)
}

// order is a body of ids.
type order struct {
	IDs []string `json:"ids"`
}

// Ordered is the result of an order about dead letters, waiting events or downstreams. An
// order may be repeated.
type Ordered struct {
	Done int      `json:"done"`
	Gone []string `json:"gone,omitempty"` // ids that were not found: handled, replayed, deleted, sent or canceled before, or never stored
}

// done is the answer to an action: how many it changed.
type done struct {
	Done int `json:"done"`
}

// order does something to the dead letters that the body names; verb says what, afterwards.
func (a api) order(w http.ResponseWriter, r *http.Request, verb string, do func([]string) (int, []string, error)) {
	var o order
	if !read(w, r, &o) {
		return
	}
	if len(o.IDs) == 0 || len(o.IDs) > maxPage || slices.Contains(o.IDs, "") {
		fail(w, http.StatusBadRequest, fmt.Errorf(`give 1 to %d dead letters: {"ids": ["…"]}`, maxPage))
		return
	}
	n, gone, err := do(o.IDs)
	a.didSome(r, n, err, "%s %s", verb, several(n, "dead letter"))
	a.answer(w, r, Ordered{Done: n, Gone: gone}, err)
}

// plugin is an action on the plugin that the path names; verb says which, afterwards.
func (a api) plugin(verb string, do func(context.Context, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		err := do(r.Context(), name)
		if err == nil {
			a.did(r, "%s plugin %s", verb, name)
		}
		a.answer(w, r, done{Done: 1}, err)
	}
}

// logLevel is the body of a change of one plugin's level.
type logLevel struct {
	Level string `json:"level,omitempty"` // "": the host's
}

func (a api) setLogLevel(w http.ResponseWriter, r *http.Request) {
	var l logLevel
	if read(w, r, &l) {
		set := func(ctx context.Context, name string) error { return a.LogLevel(ctx, name, l.Level) }
		a.plugin(fmt.Sprintf("set log level %q of", l.Level), set)(w, r)
	}
}

func (a api) reload(w http.ResponseWriter, r *http.Request) {
	var o ReloadOrder
	body := bufio.NewReader(r.Body) // an empty body may be chunked, then its length is unknown
	if _, err := body.Peek(1); err != io.EOF {
		r.Body = io.NopCloser(body)
		if !read(w, r, &o) {
			return
		}
	}
	did, err := a.Reload(r.Context(), o)
	a.didSome(r, len(did.Changed), err, "reloaded: %s", cmp.Or(strings.Join(did.Changed, ", "), "nothing has changed"))
	did.Changed = notNull(did.Changed)
	a.answer(w, r, did, err)
}

func (a api) unknown(w http.ResponseWriter, r *http.Request) {
	var paths []string
	for _, known := range a.routes() {
		paths = append(paths, known.pattern)
	}
	fail(w, http.StatusNotFound, fmt.Errorf("there is no %s %s; there are %s", r.Method, r.URL.Path, strings.Join(paths, ", ")))
}

// answer answers with what the host did, or why it did not.
func (a api) answer(w http.ResponseWriter, r *http.Request, did any, err error) {
	if err != nil {
		a.failed(w, r, err)
		return
	}
	answer(w, did)
}

// failed answers with the host's error; the status says who must act.
func (a api) failed(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusInternalServerError
	switch {
	case r.Context().Err() != nil: // the caller has gone: not the host's fault, and nobody reads the answer
		code = http.StatusServiceUnavailable
	case errors.As(err, new(*message.Problem)):
		code = http.StatusBadRequest
	case errors.Is(err, entry.ErrUnknown):
		code = http.StatusNotFound
	case errors.As(err, new(Refusal)), errors.Is(err, entry.ErrUnusable):
		code = http.StatusUnprocessableEntity
	case errors.Is(err, entry.ErrTooLarge):
		code = http.StatusRequestEntityTooLarge
	case errors.Is(err, entry.ErrExists):
		code = http.StatusConflict
	case errors.Is(err, entry.ErrFull):
		code = http.StatusInsufficientStorage
	case errors.Is(err, entry.ErrClosed):
		code = http.StatusServiceUnavailable
	default:
		a.log.Error("request failed", "path", r.URL.Path, "err", err)
	}
	fail(w, code, err)
}

// failure is the body of every answer that is not 2xx, except /readyz.
type failure struct {
	Error string `json:"error"`
	Kind  string `json:"kind,omitempty"` // kindConfig: the config is wrong
}

const kindConfig = "config"

func fail(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	f, refusal := failure{Error: err.Error()}, Refusal{}
	if errors.As(err, &refusal) && refusal.Config {
		f.Kind = kindConfig
	}
	write(w, f)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, v)
}

// notNull makes an absent list an empty one, so that scripts can loop over it.
func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// write writes indented JSON that is safe on a terminal, because people read it too. It ignores a caller that has gone.
func write(w http.ResponseWriter, v any) {
	writeWithin(w, requestLimit)
	e := json.NewEncoder(plain.Writer{W: w})
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}
