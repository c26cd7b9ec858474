package admin

import (
	"encoding/json"
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

	MessageID string `json:"message_id,omitempty"` // absent: the host makes one
	Group     string `json:"group,omitempty"`      // messages of one group go out one after the other (P5)
	Session   string `json:"session,omitempty"`    // absent: the only one
}

// Downstream is the message in the host's words, not yet checked.
func (m Message) Downstream() message.Downstream {
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
		const most = int64(math.MaxInt64 / time.Second) // Checked refuses far less
		d.Options.TTL = message.TTL(time.Duration(min(max(*m.TimeToLive, -most), most)) * time.Second)
	}
	return d
}
