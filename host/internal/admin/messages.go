package admin

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/entry"
)

// Row is one message: an event that a plugin hears of, or a downstream.
type Row struct {
	ID        string      `json:"id"`   // the host's id of an event; of a downstream its message id; "" of a timer that is no event yet
	Kind      string      `json:"kind"` // upstream, outcome, receipt, timer or downstream
	State     entry.State `json:"state"`
	Session   string      `json:"session,omitempty"`
	Category  string      `json:"category,omitempty"`
	Plugin    string      `json:"plugin,omitempty"`     // whose it is; of a downstream who has sent it: absent if the API has
	Version   string      `json:"version,omitempty"`    // of the plugin, at the last attempt
	Device    string      `json:"device,omitempty"`     // its token, or what else a downstream goes to; shortened, unless all of it is asked for and the message is pending
	MessageID string      `json:"message_id,omitempty"` // the device's id of an upstream; of an outcome or a receipt, the downstream's
	Key       string      `json:"key,omitempty"`        // of a timer
	Began     time.Time   `json:"began"`                // when it was stored first
	Sent      time.Time   `json:"sent,omitzero"`        // a downstream's: when it was sent first, if that is kept
	Ended     time.Time   `json:"ended,omitzero"`
	Next      time.Time   `json:"next,omitzero"` // its next attempt is not before this; of a timer, when it is due
	Expires   time.Time   `json:"expires,omitzero"`
	Attempts  int         `json:"attempts"`
	TookMS    float64     `json:"took_ms,omitempty"` // the last attempt
	Transport string      `json:"transport,omitempty"`
	Code      string      `json:"code,omitempty"`     // why a downstream failed, or was refused last
	Error     string      `json:"error,omitempty"`    // the same in words; why an event is dead, or was not handled last
	TraceID   string      `json:"trace_id,omitempty"` // of its OpenTelemetry trace, in hex; absent if it is not traced
}

// Pending reports whether the message has not ended.
func (r *Row) Pending() bool { return r.State.Pending() }

// MessagePage is a part of the messages: first what is pending, then dead letters, then
// what has ended; of each the newest first.
type MessagePage struct {
	Messages []Row     `json:"messages"`
	Next     string    `json:"next,omitempty"`      // "after" of the next page; absent on the last one
	Searched time.Time `json:"searched,omitzero"`   // what has ended was searched back to this time
	Now      time.Time `json:"now"`                 // by the host's clock
	Retained float64   `json:"retained_in_seconds"` // how long the ledger keeps what has ended
}

// MessageQuery asks for messages. What is zero asks for nothing.
type MessageQuery struct {
	Kinds    []string
	States   []entry.State
	Session  string
	Device   string // the whole token, FID, "/topics/NAME" or condition
	Category string
	Plugin   string
	Group    string // of downstreams, and of their outcomes and receipts
	Text     string // a part of a code or an error, in whatever case
	ID       string // of an event the beginning is enough
	Since    time.Time
	Until    time.Time // it has ended between the two, or has come if it is pending
	MinAge   time.Duration
	Limit    int
	After    string
	Full     bool // whole tokens of what is pending
}

// Kinds are the kinds of messages.
var Kinds = []string{"upstream", "outcome", "receipt", "timer", Downstream}

// Downstream is the kind of downstreams.
const Downstream = "downstream"

func (q *MessageQuery) values() url.Values {
	v := url.Values{}
	set := func(key, value string) {
		if value != "" {
			v.Set(key, value)
		}
	}
	states := make([]string, 0, len(q.States))
	for _, s := range q.States {
		states = append(states, string(s))
	}
	for key, value := range map[string]string{
		"kind": strings.Join(q.Kinds, ","), "state": strings.Join(states, ","), "session": q.Session, "device": q.Device,
		"category": q.Category, "plugin": q.Plugin, "group": q.Group, "text": q.Text, "id": q.ID, "after": q.After,
	} {
		set(key, value)
	}
	for key, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			v.Set(key, at.Format(time.RFC3339Nano))
		}
	}
	if q.MinAge > 0 {
		v.Set("min_age", q.MinAge.String())
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Full {
		v.Set("full", "true")
	}
	return v
}

// messageParameters are what a search's query may have.
func messageParameters() []parameter {
	return []parameter{
		list("kind", "only messages of these kinds", Kinds...),
		list("state", "only messages in these states", textsOf(entry.States)...),
		text("session", "only the session with this name"),
		text("device", "only this device: its whole token or FID; or what else a downstream goes to"),
		text("category", "only this category"),
		text("plugin", "only this plugin"),
		text("group", "only downstreams of this group, with their outcomes and receipts"),
		text("text", "only messages with this text in the error or the code"),
		text("id", "only the message with this id: of an event the beginning is enough; or a device's own message id"),
		moment("since", "it ended after this, or came after this if it is pending"),
		moment("until", "it ended before this, or came before this if it is pending"),
		span("min_age", "it came so long ago"),
		yes("full", "with whole tokens").needs(Operate),
		text("after", `the "next" of the page before`),
		limitParameter,
	}
}

// messageQuery reads a query that has passed checkQuery.
func messageQuery(v url.Values) (q MessageQuery, err error) {
	q = MessageQuery{
		Kinds: wordsOf(v.Get("kind")), Session: v.Get("session"), Device: v.Get("device"), Category: v.Get("category"), Plugin: v.Get("plugin"),
		Group: v.Get("group"), Text: v.Get("text"), ID: v.Get("id"), After: v.Get("after"), Full: v.Get("full") == "true",
	}
	for _, state := range wordsOf(v.Get("state")) {
		q.States = append(q.States, entry.State(state))
	}
	q.Since, _ = time.Parse(time.RFC3339, v.Get("since")) // zero if it is absent
	q.Until, _ = time.Parse(time.RFC3339, v.Get("until"))
	q.MinAge, _ = time.ParseDuration(v.Get("min_age"))
	q.Limit, err = limitOf(v)
	return q, err
}

func (a api) messages(w http.ResponseWriter, r *http.Request) {
	q, err := messageQuery(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	page, err := a.Messages(r.Context(), q)
	page.Messages = notNull(page.Messages)
	a.answer(w, r, page, err)
}

// Messages searches messages. One request does a bounded part of the work: Next says where
// to go on, even if a page has none.
func (c *Client) Messages(ctx context.Context, q MessageQuery) (MessagePage, error) {
	return ask[MessagePage](ctx, c, http.MethodGet, "/v1/messages?"+q.values().Encode(), nil)
}
