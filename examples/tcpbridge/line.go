package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"balhost/sdk"
)

// The values of message_type.
const (
	typeLogon             = "LOGON"              // BAL → bridge
	typeLogonResponse     = "LOGON_RESPONSE"     // bridge → BAL
	typeAck               = "ACK"                // both ways: "I have it"
	typeUpstream          = "UPSTREAM"           // bridge → BAL
	typeDownstream        = "DOWNSTREAM"         // BAL → bridge
	typeDownstreamAck     = "DOWNSTREAM_ACK"     // bridge → BAL
	typeDownstreamReject  = "DOWNSTREAM_REJECT"  // bridge → BAL
	typeDownstreamReceipt = "DOWNSTREAM_RECEIPT" // bridge → BAL
	typeError             = "ERROR"              // bridge → BAL, before it closes the connection
)

// line is one message of the protocol, in one line of JSON.
type line struct {
	Type             string          `json:"message_type"`
	SessionID        string          `json:"session_id,omitempty"`
	SequenceID       int64           `json:"sequence_id,omitempty"`
	MessageID        string          `json:"message_id,omitempty"` // of an ACK to the BAL
	GroupID          string          `json:"group_id,omitempty"`
	HostSession      string          `json:"host_session,omitempty"`
	Token            string          `json:"token,omitempty"`
	Status           string          `json:"status,omitempty"`
	Error            string          `json:"error,omitempty"`
	ErrorDescription string          `json:"error_description,omitempty"`
	FCMData          json.RawMessage `json:"fcm_data,omitempty"`
}

// The shapes of fcm_data: those of CCS.
type (
	upstreamData struct {
		From      string          `json:"from"`
		Category  string          `json:"category"`
		MessageID string          `json:"message_id"`
		Data      json.RawMessage `json:"data,omitempty"`
	}
	ackData struct {
		From      string `json:"from"`
		MessageID string `json:"message_id"`
		Type      string `json:"message_type"`
		NewToken  string `json:"registration_id,omitempty"`
	}
	receiptData struct {
		Type      string `json:"message_type"`
		From      string `json:"from"`
		Category  string `json:"category,omitempty"`
		MessageID string `json:"message_id"`
		Data      struct {
			Status   string `json:"message_status"`
			Original string `json:"original_message_id"`
			Device   string `json:"device_registration_id"`
			SentMs   string `json:"message_sent_timestamp,omitempty"`
		} `json:"data"`
	}
)

// encode is v as JSON in one line.
func encode(v any) []byte {
	return bytes.TrimSuffix(encodeLine(v), []byte("\n"))
}

// encodeLine is v as JSON with its line end.
func encodeLine(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it would make six bytes of one
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("tcpbridge: encode %T: %v", v, err)) // all that it gets is JSON already
	}
	return b.Bytes()
}

// decodeLine reads what a BAL has sent. Fields that it does not know are left to later versions.
func decodeLine(text []byte) (l line, err error) {
	if err := json.Unmarshal(text, &l); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
			return l, fmt.Errorf("the field %s is of type %s, not %s", wrong.Field, wrong.Value, wrong.Type)
		}
		return l, errors.New("a line is not one JSON object: write each message in one line")
	}
	if l.Type == "" {
		return l, errors.New("a line has no message_type")
	}
	return l, nil
}

// origin is the Context of each downstream: whose it is, and what a DOWNSTREAM_REJECT gives back.
type origin struct {
	SessionID string          `json:"session_id"`
	FCMData   json.RawMessage `json:"fcm_data"`
}

func originOf(context json.RawMessage) (o origin, err error) {
	if err := json.Unmarshal(context, &o); err != nil {
		return o, fmt.Errorf("the outcome's context is not from this plugin: %w", err)
	}
	return o, nil
}

// hostID is the id that a BAL's downstream has in the host: two BALs may use the same ids.
func hostID(id, session string) string { return session + "/" + id }

// ownID is the id that the BAL has given.
func ownID(hostID, session string) string { return strings.TrimPrefix(hostID, session+"/") }

// splitID undoes hostID. A session id has no "/".
func splitID(hostID string) (session, id string, err error) {
	session, id, ok := strings.Cut(hostID, "/")
	if !ok {
		return "", "", fmt.Errorf("the message id %q is not from this plugin", hostID)
	}
	return session, id, nil
}

const maxSessionID = 128 // bytes

func checkSessionID(id string) error {
	switch {
	case id == "" || len(id) > maxSessionID:
		return fmt.Errorf("a session id of %d bytes: it has 1 to %d", len(id), maxSessionID)
	case strings.ContainsFunc(id, func(r rune) bool { return r == '/' || r == unicode.ReplacementChar || unicode.IsControl(r) }):
		return fmt.Errorf("the session id %q: it has no / and no control characters", id)
	}
	return nil
}

// addressOf is a target as CCS writes it.
func addressOf(t sdk.Target) string {
	switch {
	case t.Topic != "":
		return "/topics/" + t.Topic
	case t.Condition != "":
		return t.Condition
	case t.FID != "":
		return t.FID
	}
	return t.Token
}

// blank reports whether a line is a heartbeat.
func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }
