package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Life is what became of one message.
type Life struct {
	Row
	Steps []LifeStep `json:"steps,omitempty"`
	// Made are the downstreams and timers that its handler made, also those that wait until
	// they are due; of a downstream, its outcome and receipts.
	Made  []Life `json:"made,omitempty"`
	Cause *Row   `json:"cause,omitempty"` // the message whose handler made it, or the downstream of an outcome or a receipt
	Waits *Wait  `json:"waits,omitempty"` // of a pending one
	// Matches are several messages that the id may mean. Then the fields before are empty.
	Matches []Row     `json:"matches,omitempty"`
	Next    string    `json:"next,omitempty"`    // the search is not over: ask again with this as "after"
	Upto    time.Time `json:"upto,omitzero"`     // what it has made was searched only up to this time
	Missing int       `json:"missing,omitempty"` // downstreams of it that were not found: they may be purged by now
	Cut     bool      `json:"cut,omitempty"`     // so much is pending or dead that more may have come of it
	Now     time.Time `json:"now,omitzero"`      // by the host's clock
	// Retained is how long the ledger keeps what has ended.
	Retained float64 `json:"retained_in_seconds,omitempty"`
}

// LifeStep is one thing that happened to a message.
type LifeStep struct {
	At        time.Time `json:"at,omitzero"` // zero: it is not known when
	What      string    `json:"what"`        // received, accepted, set, attempt, sent, waits, ended, …: one of the Step constants
	Detail    string    `json:"detail,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Version   string    `json:"version,omitempty"` // of the plugin
	Transport string    `json:"transport,omitempty"`
	TookMS    float64   `json:"took_ms,omitempty"`
	Code      string    `json:"code,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// What steps say.
const (
	StepReceived = "received" // an upstream or a receipt is on disk, so it was acked
	StepAccepted = "accepted" // a downstream is on disk
	StepMade     = "made"     // an outcome or a timer became an event
	StepSet      = "set"      // a timer was set, and waits until it is due
	StepAttempt  = "attempt"  // a handler got it, in vain
	StepOmitted  = "omitted"  // attempts of which nothing is kept
	StepSent     = "sent"     // a downstream was sent, in vain or without an answer so far
	StepHandled  = "handled"
	// StepForgotten: its plugin was forgotten before it ended, so nobody is told how it ends
	StepForgotten = "forgotten"
	StepDead      = "dead"
	StepAcked     = "acked"
	StepFailed    = "failed"
	StepExpired   = "expired"
	StepCanceled  = "canceled"
)

// Wait says what a pending message waits for.
type Wait struct {
	For    string    `json:"for"`              // one of the Wait constants
	Detail string    `json:"detail"`           // a sentence
	Since  time.Time `json:"since,omitzero"`   // a handler has it, or it was sent
	Until  time.Time `json:"until,omitzero"`   // not before this
	Behind string    `json:"behind,omitempty"` // the message before it in its lane or group
	Try    []string  `json:"try,omitempty"`    // commands that help
}

// For what messages wait.
const (
	WaitHandler   = "handler"   // a handler has it
	WaitStuck     = "stuck"     // a handler has it, and its time is up
	WaitCommit    = "commit"    // what its handler did is on its way to the disk
	WaitAttempt   = "attempt"   // its next attempt
	WaitLane      = "lane"      // another event of its lane goes first
	WaitTurn      = "turn"      // others go first
	WaitPause     = "pause"     // its plugin, its device at the plugin, or its session is paused
	WaitPlugin    = "plugin"    // its plugin does not run
	WaitClaim     = "claim"     // no plugin claims its category
	WaitStart     = "start"     // the host starts
	WaitAnswer    = "answer"    // it was sent, and is not answered
	WaitGroup     = "group"     // another downstream of its group goes first
	WaitTime      = "time"      // its not_before, or the time of a timer
	WaitTarget    = "target"    // its target is sent too much
	WaitRest      = "rest"      // its session is sent too much
	WaitHalt      = "halt"      // its session's account is refused
	WaitTransport = "transport" // a connection with room
)

// LifeQuery asks what became of one message. ID is an event's, or the beginning of one; or
// a device's own message id, or a downstream's.
type LifeQuery struct {
	ID     string
	Device string // only messages of this device
	After  string
	Full   bool
}

// lifeParameters are what the query of a life may have.
func lifeParameters() []parameter {
	return []parameter{
		text("device", "only messages of this device"),
		text("after", `the "next" of the answer before`),
		yes("full", "with whole tokens").needs(Operate),
	}
}

func (a api) life(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	life, err := a.Life(r.Context(), LifeQuery{ID: r.PathValue("id"), Device: v.Get("device"), After: v.Get("after"), Full: v.Get("full") == "true"})
	a.answer(w, r, life, err)
}

// Life says what became of a message. If the host does not find it in one go, Next says
// where to go on.
func (c *Client) Life(ctx context.Context, q LifeQuery) (Life, error) {
	v := url.Values{}
	for key, value := range map[string]string{"device": q.Device, "after": q.After} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Full {
		v.Set("full", "true")
	}
	return ask[Life](ctx, c, http.MethodGet, "/v1/messages/"+url.PathEscape(q.ID)+"?"+v.Encode(), nil)
}
