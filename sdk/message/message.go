// Package message holds the types that plugins and host share: a message from a
// device, a message to a device, and how that one ended. It imports only the standard
// library, and starts no goroutine. Start at [Upstream] and [Downstream].
package message

import (
	"encoding/json"
	"time"
)

// Upstream is one message from a device (ccs-protocol.md §5).
type Upstream struct {
	ID        string          // the host's id of this message, a ULID; the same at each attempt
	Session   string          // name of the session in config.hcl that the message came through
	From      string          // registration token of the device; through a gateway, what its credential says: a token, a FID or a user
	Category  string          // the app's package name or bundle id; "" if CCS sent none
	MessageID string          // the device's id of the message, unique for that device only
	Data      json.RawMessage // the payload's "data", byte by byte as it came; nil if there was none
	Raw       json.RawMessage // the whole payload, byte by byte as it came
	Attempt   int             // 1 at the first attempt
	Received  time.Time       // when the host stored the message
}

// Downstream is one message to a device, a topic or a condition
// (ccs-protocol.md §3, fcm-v1-and-gateway.md B1). [Downstream.Checked] checks it, and
// makes the [Checked] that the host works with. [Checked.Fits] says whether a session's
// transport can carry it.
type Downstream struct {
	To           Target
	Data         any             // marshalled to a JSON object with string values; nil: none
	Notification any             // marshalled to a JSON object with string values (ccs-protocol.md §3.2; [NotificationKeys]); nil: none
	Options      Options         // zero: FCM's defaults
	Group        string          // messages of one group go out one after the other (P5); "": no group
	MessageID    string          // 1 to MaxID bytes of UTF-8 without control characters; "": the host makes one
	Session      string          // "": the session of the event, or the host's only session
	Context      json.RawMessage // for the plugin itself: comes back in the Outcome, and never leaves the host
	// It waits until NotBefore, and its TTL begins then. It counts in whole milliseconds,
	// rounded up; zero, or a time that has passed: it goes at once. In a Group the order
	// wins: those behind it wait too, while their own TTL passes.
	NotBefore time.Time
	// It takes the place of the plugin's older one with the same Replace, session and
	// target, if that has not gone out yet: the older one ends as Canceled, with the code
	// REPLACED. At most MaxID bytes; "": it replaces none. Other than with
	// Options.CollapseKey, the host does it, before the message leaves it.
	Replace string
}

// Checked is a downstream that has passed [Downstream.Checked]. Its fields mean the
// same as those of Downstream.
type Checked struct {
	To                 Target
	Data, Notification json.RawMessage // each a JSON object; nil: none
	Options            Options
	Group              string
	MessageID          string
	Session            string
	Context            json.RawMessage
	NotBefore          time.Time
	Replace            string
}

// Downstream turns c back into a Downstream.
func (c Checked) Downstream() Downstream {
	d := Downstream{To: c.To, Options: c.Options, Group: c.Group, MessageID: c.MessageID, Session: c.Session, Context: c.Context, NotBefore: c.NotBefore, Replace: c.Replace}
	if c.Data != nil { // a nil RawMessage would make d.Data non-nil
		d.Data = c.Data
	}
	if c.Notification != nil {
		d.Notification = c.Notification
	}
	return d
}

// Target is where a downstream goes. Exactly one field is set.
type Target struct {
	Token     string // registration token, or the notification key of a device group
	FID       string // Firebase installation id, of an app that registers by it; CCS does not know it
	Topic     string // without the "/topics/" prefix
	Condition string // "'a' in topics && 'b' in topics"
}

// Token targets one device by its registration token, or a device group by its
// notification key.
func Token(t string) Target { return Target{Token: t} }

// FID targets one installation of an app by its Firebase installation id. CCS does not
// know such ids. An installation answers to a token or to its FID, never to
// both: use the kind that the app gave (fcm-v1-and-gateway.md A2).
func FID(id string) Target { return Target{FID: id} }

// Topic targets the subscribers of a topic; the name has no "/topics/" prefix.
func Topic(name string) Target { return Target{Topic: name} }

// Condition targets devices by a boolean expression over topics, such as
// "'a' in topics && 'b' in topics".
func Condition(expr string) Target { return Target{Condition: expr} }

// Options are FCM's delivery options (ccs-protocol.md §3.1, fcm-v1-and-gateway.md B1).
// Every transport knows all but the raw blocks.
type Options struct {
	TTL              *time.Duration // whole seconds up to MaxTTL; nil: FCM's default of four weeks; 0: now or never. See [TTL]
	Priority         Priority       // "": FCM decides
	CollapseKey      string         // of several with one key that wait for a device, the last one reaches it
	DryRun           bool           // FCM checks the message, and delivers nothing
	ReceiptRequested bool           // CCS reports the delivery; elsewhere the app does, see [DataReceipt]
	ContentAvailable bool           // wakes an app of Apple's
	MutableContent   bool           // an app of Apple's may change the notification before it is shown

	// Raw JSON objects for one platform: message.android, message.apns and
	// message.webpush of FCM's HTTP v1, their fields in snake_case. What they set wins;
	// the host adds what they lack. CCS has no such blocks.
	Android, APNS, Webpush json.RawMessage
}

// TTL makes the value for [Options].TTL. TTL(0) means now or never.
func TTL(d time.Duration) *time.Duration { return &d }

// Priority is "", "normal" or "high".
type Priority string

// The priorities. With the zero value "" FCM decides.
const (
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// Outcome tells how one downstream ended. Every accepted downstream has exactly one
// outcome (P4).
type Outcome struct {
	ID          string // of this event
	Session     string
	MessageID   string // of the downstream
	Group       string // of the downstream
	To          Target // of the downstream
	Status      OutcomeStatus
	Code        string          // for Canceled: CANCELED or REPLACED; for Failed: FCM's error code, in the words of the session's transport, or one of the host's: UNSUPPORTED, STANZA_ERROR, STREAM_ERROR, CONNECTION_LOST
	Description string          // for Failed: FCM's words
	NewToken    string          // registration_id in CCS's ack: use this token instead of the old one; FCM's HTTP v1 never sets it
	Gone        bool            // for Failed: the target does not exist any more, so forget it; the same with every transport
	Attempts    int             // how often the downstream was sent to FCM
	Attempt     int             // of this event; 1 at the first attempt
	Context     json.RawMessage // as given to Send
}

// OutcomeStatus is how a downstream ended.
type OutcomeStatus uint8

// The ends of a downstream.
const (
	Acked    OutcomeStatus = iota + 1 // FCM took the downstream, and the device need not have it yet; or the device took it, over the session's gateway
	Failed                            // FCM refused it for good, or its attempts ran out
	Expired                           // its TTL passed before FCM took it
	Canceled                          // its plugin canceled it, or replaced it by a newer one, before it went out
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
	case Canceled:
		return "canceled"
	}
	return "unknown"
}

// MarshalText writes what String returns, for logs and JSON.
func (s OutcomeStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a status. An unknown one, from a later host, becomes 0.
func (s *OutcomeStatus) UnmarshalText(text []byte) error {
	*s = 0
	for _, known := range []OutcomeStatus{Acked, Failed, Expired, Canceled} {
		if string(text) == known.String() {
			*s = known
		}
	}
	return nil
}

// Receipt says that the device has got a downstream. It comes from CCS
// (ccs-protocol.md §6), or from the app itself through the session's gateway
// (fcm-v1-and-gateway.md C2).
type Receipt struct {
	ID                string // of this event
	Session           string
	OriginalMessageID string // MessageID of the downstream
	Device            string // registration token; from the gateway, the From of the device's upstreams
	Category          string // "" if CCS sent none, or it came from the app
	Status            string // CCS's word, for example MESSAGE_SENT_TO_DEVICE; or the app's, as DISPLAYED or OPENED
	Attempt           int    // of this event; 1 at the first attempt
	SentAt            time.Time
}

// Timer is due: a handler of the plugin has set it.
type Timer struct {
	ID      string // of this event
	Session string // of the event that set it, or as named then; "": none
	Device  string // From of the upstream that set it, or as named then; "": none
	Key     string
	Data    json.RawMessage // as given; nil: none
	Due     time.Time       // what it was set for
	Attempt int             // of this event; 1 at the first attempt
}
