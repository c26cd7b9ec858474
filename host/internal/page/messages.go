package page

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	say "balhost/host/internal/told"
)

// rowsOfSearch is how many messages one page of a search has.
const rowsOfSearch = 50

func (p *Pages) messages(w http.ResponseWriter, r *http.Request) {
	q, err := searchOf(r.URL.Query().Get)
	var page admin.MessagePage
	if err == nil {
		page, err = p.Messages(r.Context(), q)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Messages", "messages")
	v.Page = page
	p.show(w, "messages", v)
}

// chip leads to the messages in one state, or in several.
type chip struct {
	Title, Path, Grade string
	Count              int // 0: there is none, or it is not counted
	Here               bool
}

// Chips are what people ask for most.
func (v view) Chips() []chip {
	l, retrying := v.Host.Ledger, 0
	for _, p := range v.Host.Plugins {
		retrying += p.Waiting
	}
	for _, s := range v.Host.Sessions {
		retrying += s.Later - s.Early
	}
	all := []chip{{Title: "All"}, {Title: "Pending", Count: l.Events + l.Downstreams}, {Title: "Retrying", Count: retrying}, {Title: "Dead", Count: l.Dead}, {Title: "Failed"}, {Title: "Expired"}, {Title: "Any trouble"}}
	for i, state := range []string{"", "pending", "retrying", "dead", "failed", "expired", "trouble"} {
		c := &all[i]
		if c.Path = "/messages"; state != "" {
			c.Path += "?state=" + state
			c.Grade = ofMessage(entry.State(state)).Grade
		}
		if state == "trouble" {
			c.Grade = "warn"
		}
		c.Here = v.Query("state") == state && v.request.URL.Path == "/messages"
	}
	return all
}

// searchOf is the search that a form has.
func searchOf(typed func(string) string) (q admin.MessageQuery, err error) {
	text := func(name string) string { return strings.TrimSpace(typed(name)) }
	q = admin.MessageQuery{
		ID: text("id"), Device: text("device"), Category: text("category"), Plugin: text("plugin"), Session: text("session"), Text: text("text"),
		After: typed("after"), Limit: rowsOfSearch,
	}
	if kind := text("kind"); kind != "" {
		if !slices.Contains(admin.Kinds, kind) {
			return q, wrong("there is no kind of that name: " + strings.Join(admin.Kinds, ", "))
		}
		q.Kinds = []string{kind}
	}
	switch state := entry.State(text("state")); {
	case state == "pending":
		q.States = []entry.State{entry.StateWaiting, entry.StateInFlight, entry.StateRetrying}
	case state == "trouble":
		q.States = []entry.State{entry.StateRetrying, entry.StateDead, entry.StateFailed, entry.StateExpired}
	case slices.Contains(entry.States, state):
		q.States = []entry.State{state}
	case state != "":
		return q, wrong("there is no state of that name")
	}
	if q.Since, err = moment(text("since")); err == nil {
		q.Until, err = moment(text("until"))
	}
	if age := text("min_age"); age != "" && err == nil {
		if q.MinAge, err = time.ParseDuration(age); err != nil {
			return q, wrong("older than: want a time such as 90s, 15m or 24h")
		}
	}
	return q, err
}

func (p *Pages) message(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	life, err := p.Life(r.Context(), admin.LifeQuery{ID: r.PathValue("id"), Device: query.Get("device"), After: query.Get("after")})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := p.view(r, "Message "+r.PathValue("id"), "messages")
	v.Page = life
	p.show(w, "message", v)
}

// States are those of messages, for a person to choose from.
func (v view) States() []entry.State { return entry.States }

// MessageKinds are the kinds of messages.
func (v view) MessageKinds() []string { return admin.Kinds }

// ofMessage is the mark of a message.
func ofMessage(s entry.State) mark {
	grade, ok := map[entry.State]string{
		entry.StateHandled: "good", entry.StateAcked: "good", entry.StateRetrying: "warn", entry.StateExpired: "warn", entry.StateDead: "bad", entry.StateFailed: "bad", entry.StateCanceled: "idle",
	}[s]
	if !ok {
		grade = "busy"
	}
	return mark{grade, strings.ReplaceAll(string(s), "_", " ")}
}

// ofStep is the mark of one thing that happened to a message.
func ofStep(what string) mark {
	grade, ok := map[string]string{
		admin.StepHandled: "good", admin.StepAcked: "good", admin.StepAttempt: "warn", admin.StepSent: "warn", admin.StepExpired: "warn",
		admin.StepDead: "bad", admin.StepFailed: "bad", admin.StepOmitted: "idle", admin.StepCanceled: "idle", admin.StepForgotten: "idle",
	}[what]
	if !ok {
		grade = "busy"
	}
	return mark{grade, what}
}

// gap is how long after the step before one of a life's came; "": it is the first, or one
// of the two times is not known.
func gap(steps []admin.LifeStep, i int) string {
	if i == 0 || steps[i].At.IsZero() || steps[i-1].At.IsZero() {
		return ""
	}
	return "+" + say.Short(steps[i].At.Sub(steps[i-1].At))
}
