package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"balhost/sdk/message"
)

// Message is the body of `POST /v1/messages`: one downstream. Fields that CCS has
// too have CCS's names (ccs-protocol.md §3), and the raw blocks of FCM's HTTP v1 have
// those that they have there. Exactly one of Token, FID, Topic and Condition is set.
type Message struct {
	Token        string          `json:"token,omitempty"`
	FID          string          `json:"fid,omitempty"`   // only for a session with fcm_v1
	Topic        string          `json:"topic,omitempty"` // without "/topics/"
	Condition    string          `json:"condition,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
	Notification json.RawMessage `json:"notification,omitempty"`

	TimeToLive       *int64 `json:"time_to_live,omitempty"` // seconds; absent: FCM's default of four weeks; 0: deliver now or never
	Priority         string `json:"priority,omitempty"`
	CollapseKey      string `json:"collapse_key,omitempty"`
	DryRun           bool   `json:"dry_run,omitempty"`
	ReceiptRequested bool   `json:"delivery_receipt_requested,omitempty"`
	ContentAvailable bool   `json:"content_available,omitempty"`
	MutableContent   bool   `json:"mutable_content,omitempty"`

	// Raw blocks for one platform; only for a session with fcm_v1.
	Android json.RawMessage `json:"android,omitempty"`
	APNS    json.RawMessage `json:"apns,omitempty"`
	Webpush json.RawMessage `json:"webpush,omitempty"`

	// The same MessageID with equal fields (Data and Notification byte for byte) is
	// the same message. The same MessageID with other fields is an error (409).
	MessageID string `json:"message_id,omitempty"` // absent: the host makes one
	Group     string `json:"group,omitempty"`      // messages of one group go out in order (P5)
	Session   string `json:"session,omitempty"`    // absent: the only session

	NotBefore time.Time `json:"not_before,omitzero"` // RFC 3339; it waits until then, and its TTL begins then. Absent: it goes at once
	Replace   string    `json:"replace,omitempty"`   // it takes the place of the API's older one with the same replace, session and target that has not gone out yet
}

// fieldNames are the body's names for fields that message.Problem names differently.
var fieldNames = map[string]string{
	"to": "message", "to.token": "token", "to.fid": "fid", "to.topic": "topic", "to.condition": "condition",
	"options.ttl": "time_to_live",
}

// Checked is the message in the host's form. Its error lists every reason why no
// transport could carry it, with the names that the fields have here.
func (m Message) Checked() (message.Checked, error) {
	d, err := m.downstream().Checked()
	m.name(err)
	return d, err
}

// name gives the fields in err the names that they have here.
func (m Message) name(err error) {
	switch e := err.(type) {
	case *message.Problem:
		e.Field = cmp.Or(fieldNames[e.Field], strings.TrimPrefix(e.Field, "options."))
		if e.Field == "time_to_live" { // show the number as the caller wrote it
			e.Wrong = fmt.Sprintf("is %ds", *m.TimeToLive)
		}
	case interface{ Unwrap() error }:
		m.name(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			m.name(one)
		}
	}
}

func (m Message) downstream() message.Downstream {
	d := message.Downstream{
		To: message.Target{Token: m.Token, FID: m.FID, Topic: m.Topic, Condition: m.Condition},
		Options: message.Options{
			Priority:         message.Priority(m.Priority),
			CollapseKey:      m.CollapseKey,
			DryRun:           m.DryRun,
			ReceiptRequested: m.ReceiptRequested,
			ContentAvailable: m.ContentAvailable,
			MutableContent:   m.MutableContent,
			Android:          m.Android,
			APNS:             m.APNS,
			Webpush:          m.Webpush,
		},
		Group:     m.Group,
		MessageID: m.MessageID,
		Session:   m.Session,
		NotBefore: m.NotBefore,
		Replace:   m.Replace,
	}
	if m.Data != nil { // a nil RawMessage in an interface is not nil
		d.Data = m.Data
	}
	if m.Notification != nil {
		d.Notification = m.Notification
	}
	if m.TimeToLive != nil {
		const most = int64(math.MaxInt64 / time.Second) // a Duration holds no more; Checked allows far less
		d.Options.TTL = message.TTL(time.Duration(min(max(*m.TimeToLive, -most), most)) * time.Second)
	}
	return d
}
