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

// Message is the body of `POST /v1/messages`: one downstream, in CCS's own
// words where it has one (ccs-protocol.md §3). Exactly one of Token, Topic and
// Condition is set.
type Message struct {
	Token        string          `json:"token,omitempty"`
	Topic        string          `json:"topic,omitempty"` // without "/topics/"
	Condition    string          `json:"condition,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
	Notification json.RawMessage `json:"notification,omitempty"`

	TimeToLive       *int64 `json:"time_to_live,omitempty"` // seconds; absent is CCS's default, 0 is now or never
	Priority         string `json:"priority,omitempty"`
	CollapseKey      string `json:"collapse_key,omitempty"`
	DryRun           bool   `json:"dry_run,omitempty"`
	ReceiptRequested bool   `json:"delivery_receipt_requested,omitempty"`
	ContentAvailable bool   `json:"content_available,omitempty"`
	MutableContent   bool   `json:"mutable_content,omitempty"`

	// MessageID given again with everything as before, Data and Notification byte
	// for byte, is the same message; with anything else it is refused (409).
	MessageID string `json:"message_id,omitempty"` // absent: the host makes one
	Group     string `json:"group,omitempty"`      // messages of one group go out one after the other (P5)
	Session   string `json:"session,omitempty"`    // absent: the only one
}

// fieldNames are the body's names for what message.Problem names otherwise.
var fieldNames = map[string]string{
	"to": "message", "to.token": "token", "to.topic": "topic", "to.condition": "condition",
	"options.ttl": "time_to_live", "options.priority": "priority", "options.collapse_key": "collapse_key",
}

// Checked is the message in the host's words, or every reason why CCS would
// refuse it, by the names that the fields have here.
func (m Message) Checked() (message.Checked, error) {
	d, err := m.downstream().Checked()
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			var p *message.Problem
			if errors.As(one, &p) {
				p.Field = cmp.Or(fieldNames[p.Field], p.Field)
				if p.Field == "time_to_live" { // the number as it was given
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
		const most = int64(math.MaxInt64 / time.Second) // a Duration holds no more; Checked refuses far less
		d.Options.TTL = message.TTL(time.Duration(min(max(*m.TimeToLive, -most), most)) * time.Second)
	}
	return d
}
