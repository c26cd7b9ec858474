// Package message holds the words that plugins and host share: what a device
// sent, what is sent to a device, and how that ended. It imports the standard
// library only and starts nothing. Start at [Upstream] and [Downstream].
package message

import (
	"encoding/json"
	"time"
)

// Upstream is one message from a device (ccs-protocol.md §5).
type Upstream struct {
	ID        string          // the host's, a ULID; the same at every delivery of this message
	Session   string          // name of the session (config.hcl) that it came through
	From      string          // registration token of the device
	Category  string          // the app's package name or bundle id; "" when CCS sent none
	MessageID string          // the device's own, unique for that device only
	Data      json.RawMessage // the payload's "data", bytes as they came; nil when there was none
	Raw       json.RawMessage // the whole payload, bytes as they came
	Attempt   int             // 1 at the first delivery
	Received  time.Time       // when the host stored it
}

// Downstream is one message for a device, a topic or a condition
// (ccs-protocol.md §3). [Downstream.Checked] says whether CCS could take it, and
// makes it the [Checked] that the host works with.
type Downstream struct {
	To           Target
	Data         any             // marshalled to a JSON object with string values; nil for none
	Notification any             // marshalled to a JSON object (ccs-protocol.md §3.2); nil for none
	Options      Options         // zero: CCS's defaults
	Group        string          // messages of one group go out one after the other (P5); "" for no group
	MessageID    string          // "" lets the host make one; see [Downstream.Checked] for what is legal
	Session      string          // "" is the event's session, or the only one
	Context      json.RawMessage // the plugin's own; comes back in the Outcome, never leaves the host
}

// Checked is a downstream that CCS could take: what [Downstream.Checked] made, or
// what was stored of it. Its fields are those of Downstream.
type Checked struct {
	To                 Target
	Data, Notification json.RawMessage // each an object; nil for none
	Options            Options
	Group              string
	MessageID          string
	Session            string
	Context            json.RawMessage
}

// Downstream is the message as its author would write it.
func (c Checked) Downstream() Downstream {
	d := Downstream{To: c.To, Options: c.Options, Group: c.Group, MessageID: c.MessageID, Session: c.Session, Context: c.Context}
	if c.Data != nil { // a nil RawMessage in an interface is not nil
		d.Data = c.Data
	}
	if c.Notification != nil {
		d.Notification = c.Notification
	}
	return d
}

// Target is where a downstream goes: exactly one field is set.
type Target struct {
	Token     string // registration token, or the notification key of a device group
	Topic     string // without the "/topics/" prefix
	Condition string // "'a' in topics && 'b' in topics"
}

// Token targets one device.
func Token(t string) Target { return Target{Token: t} }

// Topic targets the subscribers of a topic; the name has no "/topics/" prefix.
func Topic(name string) Target { return Target{Topic: name} }

// Condition targets devices by a boolean expression over topics.
func Condition(expr string) Target { return Target{Condition: expr} }

// Options are CCS's delivery options (ccs-protocol.md §3.1).
type Options struct {
	TTL              *time.Duration // nil: CCS's default of four weeks; 0 is now or never. See [TTL]
	Priority         Priority
	CollapseKey      string
	DryRun           bool
	ReceiptRequested bool
	ContentAvailable bool
	MutableContent   bool

	// Raw blocks for transports that have them; CCS has none, so Checked refuses them.
	Android, APNS, Webpush json.RawMessage
}

// TTL makes the value for [Options].TTL.
func TTL(d time.Duration) *time.Duration { return &d }

// Priority is "", "normal" or "high".
type Priority string

// The priorities of CCS; the zero value leaves the choice to CCS.
const (
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// Outcome tells how one downstream ended. Every accepted downstream has exactly one (P4).
type Outcome struct {
	ID          string // of this event
	Session     string
	MessageID   string // of the downstream
	Group       string
	To          Target
	Status      OutcomeStatus
	Code        string          // for Failed CCS's error code, or the host's: STANZA_ERROR, STREAM_ERROR, CONNECTION_LOST
	Description string          // CCS's words, for Failed
	NewToken    string          // registration_id in CCS's ack: replace the old token by it
	Attempts    int             // how often the downstream was written to CCS
	Attempt     int             // of this event; 1 at the first delivery
	Context     json.RawMessage // as given to Send
}

// OutcomeStatus is how a downstream ended.
type OutcomeStatus uint8

// The three ends of a downstream.
const (
	Acked   OutcomeStatus = iota + 1 // CCS took it; this is not a delivery to the device
	Failed                           // CCS refused it for good, or attempts ran out
	Expired                          // its TTL passed before CCS took it
)

// String is the status in lower case.
func (s OutcomeStatus) String() string {
	switch s {
	case Acked:
		return "acked"
	case Failed:
		return "failed"
	case Expired:
		return "expired"
	}
	return "unknown"
}

// MarshalText gives the name, so that logs and JSON have it too.
func (s OutcomeStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes a name; one of a later host's is none of the three.
func (s *OutcomeStatus) UnmarshalText(text []byte) error {
	*s = 0
	for _, known := range []OutcomeStatus{Acked, Failed, Expired} {
		if string(text) == known.String() {
			*s = known
		}
	}
	return nil
}

// Receipt is CCS's delivery receipt (ccs-protocol.md §6).
type Receipt struct {
	ID                string // of this event
	Session           string
	OriginalMessageID string // of the downstream that the device confirmed
	Device            string // registration token
	Category          string
	Status            string // as CCS says, e.g. MESSAGE_SENT_TO_DEVICE
	Attempt           int    // of this event; 1 at the first delivery
	SentAt            time.Time
}
