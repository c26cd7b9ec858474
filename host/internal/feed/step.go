package feed

import (
	"cmp"
	"strings"
	"time"

	"balhost/sdk/message"
)

// What says what happened. The words are those of the API.
type What string

// What happens to events, downstreams, plugins and sessions.
const (
	Stored    What = "stored"    // an event or a downstream is on disk
	Duplicate What = "duplicate" // an upstream or receipt was stored before, and is acked again
	Unusable  What = "unusable"  // nobody can understand it: it is a dead letter
	Handed    What = "handed"    // an event went to a process of its plugin
	Returned  What = "returned"  // it came back without a result: no attempt is counted
	Handled   What = "handled"   // its end is on disk, with all that the handler did
	Retried   What = "retried"   // it failed, and waits for another attempt
	Dead      What = "dead"      // it went to the dead letters
	Sent      What = "sent"      // a downstream went to a connection or a device
	Postponed What = "postponed" // it was refused, and waits for another attempt
	Acked     What = "acked"     // its outcome is on disk, as the next three are
	Failed    What = "failed"
	Expired   What = "expired"
	Canceled  What = "canceled" // of a downstream, and of a timer
	Replayed  What = "replayed" // a dead letter is an event again
	Deleted   What = "deleted"  // a dead letter was removed, or what waited for a forgotten plugin
	Set       What = "set"      // a timer waits for its time
	Fired     What = "fired"    // its time has come: it is an event

	Started  What = "started"  // a plugin's process serves
	Replaced What = "replaced" // another version of the plugin serves
	Crashed  What = "crashed"  // a plugin's process ended by itself
	Refused  What = "refused"  // a plugin's content was not accepted, or was rolled back

	Connected What = "connected" // a session's connection can carry messages
	Draining  What = "draining"  // its peer wants it to end
	Lost      What = "lost"      // it has ended, or could not be made
)

// Whats are all of them, in the order of a message's way.
var Whats = []What{
	Stored, Duplicate, Unusable, Set, Fired, Handed, Returned, Handled, Retried, Dead, Replayed, Deleted,
	Sent, Postponed, Acked, Failed, Expired, Canceled,
	Started, Replaced, Crashed, Refused, Connected, Draining, Lost,
}

// Troubles are those after which somebody may want to look.
var Troubles = []What{Unusable, Returned, Retried, Dead, Postponed, Failed, Expired, Crashed, Refused, Draining, Lost}

// The kinds of what a step is about.
const (
	Upstream   = "upstream"
	Outcome    = "outcome"
	Receipt    = "receipt"
	Timer      = "timer"
	Downstream = "downstream"
	Plugin     = "plugin"
	Session    = "session"
)

// Kinds are all of them.
var Kinds = []string{Upstream, Outcome, Receipt, Timer, Downstream, Plugin, Session}

// Step is one thing that happened. What is not known, or does not apply, is absent.
// Later versions only add fields.
type Step struct {
	At        time.Time `json:"at"`
	What      What      `json:"what"`
	Kind      string    `json:"kind"`
	ID        string    `json:"id,omitempty"`         // of an event; a downstream has a message id
	MessageID string    `json:"message_id,omitempty"` // of a downstream, and the device's own of an upstream; a timer's key
	Session   string    `json:"session,omitempty"`    // its name; inside the host its sender id
	Device    string    `json:"device,omitempty"`     // its token, or the topic of a downstream
	Category  string    `json:"category,omitempty"`
	Plugin    string    `json:"plugin,omitempty"`
	Version   string    `json:"version,omitempty"`    // of the plugin
	By        string    `json:"by,omitempty"`         // the way that a downstream went: ccs, fcm_v1, gateway
	Attempt   int       `json:"attempt,omitempty"`    // counts from 1
	Took      float64   `json:"took_ms,omitempty"`    // the handler's time, in milliseconds
	Due       time.Time `json:"due,omitzero"`         // not before this
	Code      string    `json:"code,omitempty"`       // of an answer that was not an ack
	Error     string    `json:"error,omitempty"`      // why
	Address   string    `json:"address,omitempty"`    // of a session's peer, or a gateway's own
	Body      string    `json:"body,omitempty"`       // its beginning, if the reader asked for bodies
	BodyBytes int       `json:"body_bytes,omitempty"` // of the whole body, if Body is not all of it

	// Payload is where Body comes from. Readers never see it.
	Payload []byte `json:"-"`
}

// Target is to whom a downstream goes, as a step's Device.
func Target(t message.Target) string {
	if t.Topic != "" {
		return "/topics/" + t.Topic
	}
	return cmp.Or(t.Token, t.FID, t.Condition)
}

// maxBody is how much of a body a reader sees, in bytes.
const maxBody = 2 << 10

// kept is a copy of s that shares no memory with the message: what a reader has not read
// yet keeps no payload alive.
func (s *Step) kept(bodies bool) *Step {
	out := *s
	out.Payload = nil
	body := s.Payload
	if !bodies {
		body = nil
	}
	if len(body) > maxBody {
		out.BodyBytes, body = len(body), body[:maxBody]
	}
	texts := []*string{&out.ID, &out.MessageID, &out.Session, &out.Device, &out.Category, &out.Plugin, &out.Version, &out.By, &out.Code, &out.Error, &out.Address}
	var all strings.Builder
	size := len(body)
	for _, t := range texts {
		*t = clip(*t)
		size += len(*t)
	}
	all.Grow(size)
	for _, t := range texts {
		all.WriteString(*t)
	}
	all.Write(body)
	rest := all.String()
	for _, t := range texts {
		*t, rest = rest[:len(*t)], rest[len(*t):]
	}
	out.Body = strings.ToValidUTF8(rest, "\uFFFD")
	return &out
}

// clip bounds a text: tokens and ids may have 4 KiB, errors any length.
func clip(s string) string {
	if len(s) <= maxBody {
		return s
	}
	return strings.ToValidUTF8(s[:maxBody], "") + "…"
}

// stepExtra is about what a step takes beside its texts, in bytes.
const stepExtra = 320

// size is about how much memory a kept step takes, in bytes.
func (s *Step) size() int {
	return stepExtra + len(s.ID) + len(s.MessageID) + len(s.Session) + len(s.Device) + len(s.Category) + len(s.Plugin) +
		len(s.Version) + len(s.By) + len(s.Code) + len(s.Error) + len(s.Address) + len(s.Body)
}
