package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"balhost/sdk/message"
)

// Message is the body of `POST /v1/messages`: one downstream. Fields that CCS has
// too have CCS's names (ccs-protocol.md §3). Exactly one of Token, Topic and Condition
// is set.
type Message struct {
	Token        string          `json:"token,omitempty"`
	Topic        string          `json:"topic,omitempty"` // without "/topics/"
	Condition    string          `json:"condition,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
	Notification json.RawMessage `json:"notification,omitempty"`

	TimeToLive       *int64 `json:"time_to_live,omitempty"` // seconds; absent: CCS's default; 0: deliver now or never
	Priority         string `json:"priority,omitempty"`
	CollapseKey      string `json:"collapse_key,omitempty"`
	DryRun           bool   `json:"dry_run,omitempty"`
	ReceiptRequested bool   `json:"delivery_receipt_requested,omitempty"`
	ContentAvailable bool   `json:"content_available,omitempty"`
	MutableContent   bool   `json:"mutable_content,omitempty"`

	// The same MessageID with equal fields (Data and Notification byte for byte) is
	// the same message. The same MessageID with other fields is an error (409).
	MessageID string `json:"message_id,omitempty"` // absent: the host makes one
	Group     string `json:"group,omitempty"`      // messages of one group go out in order (P5)
	Session   string `json:"session,omitempty"`    // absent: the only session
}

// fieldNames are the body's names for fields that message.Problem names differently.
var fieldNames = map[string]string{
	"to": "message", "to.token": "token", "to.topic": "topic", "to.condition": "condition",
	"options.ttl": "time_to_live", "options.priority": "priority", "options.collapse_key": "collapse_key",
}

// Checked is the message in the host's form. Its error lists every reason why CCS
// would reject the message, with the names that the fields have here.
func (m Message) Checked() (message.Checked, error) {
	d, err := m.downstream().Checked()
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			var p *message.Problem
			if errors.As(one, &p) {
				p.Field = cmp.Or(fieldNames[p.Field], p.Field)
				if p.Field == "time_to_live" { // show the number as the caller wrote it
					p.Wrong = fmt.Sprintf("is %ds", *m.TimeToLive)
				}
			}
		}
	}
	return d, err
}

func (m Message) downstream() message.Downstream {
	d := message.Downstream{
		To: message.Target{Token: m.Token, Topic: m.Topic, Condition: m.Condition},
		Options: message.Options{
			Priority:         message.Priority(m.Priority),
			CollapseKey:      m.CollapseKey,
			DryRun:           m.DryRun,
			ReceiptRequested: m.ReceiptRequested,
			ContentAvailable: m.ContentAvailable,
			MutableContent:   m.MutableContent,
		},
		Group:     m.Group,
		MessageID: m.MessageID,
		Session:   m.Session,
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
