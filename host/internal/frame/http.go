package frame

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"balhost/host/internal/entry"
	"balhost/sdk/message"
)

// The paths. Spec: fcm-v1-and-gateway.md C2, C3.
const (
	UpstreamPath = "/v1/upstream"
	ReceiptsPath = "/v1/receipts"
	SocketPath   = "/v1/ws"
	HealthPath   = "/healthz"
)

// The limits of a request. Spec: fcm-v1-and-gateway.md C5.
const (
	MaxBody  = 256 << 10 // bytes
	MaxBatch = 100       // messages or receipts
)

// The codes, of HTTP and of nacks.
const (
	CodeInvalidJSON   = "INVALID_JSON"   // it is not JSON, or not of the form that it should have
	CodeInvalidField  = "INVALID_FIELD"  // a field is missing, or its value can't be
	CodeTooBig        = "TOO_BIG"        // a message over 64 KiB, a request over 256 KiB or 100 messages
	CodeTTLTooLong    = "TTL_TOO_LONG"   // the host forgets the id earlier than the message would expire
	CodeNotSent       = "NOT_SENT"       // a receipt of nothing that was sent to this device
	CodeWrongType     = "WRONG_TYPE"     // the body is no application/json
	CodeUnauthorized  = "UNAUTHORIZED"   // the credential is missing, wrong or expired
	CodeForbidden     = "FORBIDDEN"      // from or category is not this credential's
	CodeNotFound      = "NOT_FOUND"      // there is nothing at this path, or not for this method
	CodeTooSlow       = "TOO_SLOW"       // the body took too long
	CodeOneAtATime    = "ONE_AT_A_TIME"  // another request of this device is not answered yet
	CodeTooMany       = "TOO_MANY"       // messages of the device, or requests of its address
	CodeNoRoom        = "NO_ROOM"        // the host can't store it now
	CodeNotReady      = "NOT_READY"      // the host can't check credentials yet, or it stops
	CodeUpgradeNeeded = "UPGRADE_NEEDED" // the path is for WebSocket only
)

// Error is the body of an answer other than 202, and why one message is refused.
type Error struct {
	Code        string `json:"error"`
	Description string `json:"description"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Description }

// Wrong makes an Error.
func Wrong(code, format string, args ...any) *Error {
	return &Error{Code: code, Description: fmt.Sprintf(format, args...)}
}

// Batch is the body of a request with several messages.
type Batch struct {
	Messages []Message `json:"messages"`
}

// Receipts is the body of a request with receipts.
type Receipts struct {
	Receipts []Receipt `json:"receipts"`
}

// Receipt says what became of a downstream. From is needed where the credential does not
// say it.
type Receipt struct {
	OriginalMessageID string `json:"original_message_id"`
	Status            string `json:"status"`
	Timestamp         int64  `json:"timestamp,omitempty"` // milliseconds since 1970
	From              string `json:"from,omitempty"`
	Category          string `json:"category,omitempty"` // who hears of it, if no plugin has sent the message
}

// Status says what became of a message.
type Status string

// The statuses.
const (
	Stored    Status = "stored"
	Duplicate Status = "duplicate" // it was stored before
	Refused   Status = "refused"   // it can never be stored
)

// Results is the body of a 202: one Result for each message or receipt, in their order.
type Results struct {
	Results []Result `json:"results"`
}

// Result is what became of one message or receipt.
type Result struct {
	MessageID         string `json:"message_id,omitempty"`          // of a message
	OriginalMessageID string `json:"original_message_id,omitempty"` // of a receipt
	Status            Status `json:"status"`
	Code              string `json:"error,omitempty"`       // Refused
	Description       string `json:"description,omitempty"` // Refused
}

// SplitMessages finds the messages of a body: that of "messages", or the body itself.
func SplitMessages(body []byte) ([]json.RawMessage, *Error) {
	var b struct {
		Messages *[]json.RawMessage `json:"messages"`
	}
	if wrong := object(body, &b); wrong != nil {
		return nil, wrong
	}
	if b.Messages == nil {
		return []json.RawMessage{body}, nil
	}
	return *b.Messages, count(len(*b.Messages), "messages")
}

// SplitReceipts finds the receipts of a body.
func SplitReceipts(body []byte) ([]json.RawMessage, *Error) {
	var b struct {
		Receipts []json.RawMessage `json:"receipts"`
	}
	if wrong := object(body, &b); wrong != nil {
		return nil, wrong
	}
	return b.Receipts, count(len(b.Receipts), "receipts")
}

func count(n int, what string) *Error {
	switch {
	case n == 0:
		return Wrong(CodeInvalidJSON, "the body has no %s: send 1 to %d", what, MaxBatch)
	case n > MaxBatch:
		return Wrong(CodeTooBig, "the body has %d %s: send at most %d in one request", n, what, MaxBatch)
	}
	return nil
}

// object reads a JSON object. What is wrong with it is told without its text.
func object(b []byte, into any) *Error {
	err := json.Unmarshal(b, into)
	var syntax *json.SyntaxError
	var field *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return Wrong(CodeInvalidJSON, "it is not JSON: byte %d can't be there, or the end is missing", syntax.Offset)
	case errors.As(err, &field) && field.Field != "":
		return Wrong(CodeInvalidJSON, "%s is of the wrong type: it is a JSON %s", field.Field, field.Value)
	case err != nil:
		return Wrong(CodeInvalidJSON, "it is not a JSON object")
	case !braced(b): // null has no error
		return Wrong(CodeInvalidJSON, "it is not a JSON object")
	}
	return nil
}

// braced reports whether valid JSON is an object.
func braced(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c == '{'
		}
	}
	return false
}

// DecodeMessage reads one message. With an error the MessageID is set, if it was found.
// Data shares memory with b.
func DecodeMessage(b []byte) (m Message, wrong *Error) {
	if _, deep := walk(b, maxDepth); deep {
		return m, Wrong(CodeInvalidJSON, "it has more than %d arrays and objects inside of one another", maxDepth)
	}
	if wrong = object(b, &m); wrong != nil {
		return m, wrong
	}
	if string(m.Data) == "null" {
		m.Data = nil
	}
	if err := message.CheckText("message", b); err != nil {
		return m, Wrong(CodeInvalidJSON, "%v", err)
	}
	if len(b) > MaxFrame {
		return m, Wrong(CodeTooBig, "it has %d bytes: at most %d can be stored", len(b), MaxFrame)
	}
	return m, m.Check()
}

// Check says what is wrong with a message.
func (m *Message) Check() *Error {
	switch {
	case m.MessageID == "":
		return Wrong(CodeInvalidField, "message_id is missing: give each message its own, and keep it when you send the message again")
	case m.Data != nil && m.Data[0] != '{':
		return Wrong(CodeInvalidField, "data: it has to be a JSON object")
	case m.TimeToLive != nil && *m.TimeToLive < 0:
		return Wrong(CodeInvalidField, "time_to_live is %d: it is 0 or more seconds", *m.TimeToLive)
	}
	return nil
}

// DecodeReceipt reads one receipt. With an error the OriginalMessageID is set, if it was
// found.
func DecodeReceipt(b []byte) (r Receipt, wrong *Error) {
	if wrong = object(b, &r); wrong != nil {
		return r, wrong
	}
	if err := message.CheckText("receipt", b); err != nil {
		return r, Wrong(CodeInvalidJSON, "%v", err)
	}
	return r, r.Check()
}

// maxTime is the last millisecond of the year 9999: JSON has no later times.
const maxTime = 253402300799999

// Check says what is wrong with a receipt.
func (r *Receipt) Check() *Error {
	switch {
	case r.OriginalMessageID == "":
		return Wrong(CodeInvalidField, "original_message_id is missing: it is the message_id of the downstream")
	case !statusText(r.Status):
		return Wrong(CodeInvalidField, "status has to be 1 to 64 of A to Z, 0 to 9 and _, like MESSAGE_SENT_TO_DEVICE, DISPLAYED or OPENED")
	case r.Timestamp < 0 || r.Timestamp > maxTime:
		return Wrong(CodeInvalidField, "timestamp is %d: it is in milliseconds since 1970", r.Timestamp)
	}
	return nil
}

func statusText(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Envelope is m as CCS would have sent it, and where its fields are in it.
func (m *Message) Envelope() ([]byte, entry.Places) {
	var p entry.Places
	dst := make([]byte, 0, len(m.Data)+len(m.From)+len(m.Category)+len(m.MessageID)+96)
	dst = append(dst, `{"from":`...)
	p.From = len(dst) + 1
	dst = quote(dst, m.From)
	if m.Category != "" {
		dst = field(dst, "category")
		p.Category = len(dst) + 1
		dst = quote(dst, m.Category)
	}
	dst = field(dst, "message_id")
	p.MessageID = len(dst) + 1
	dst = quote(dst, m.MessageID)
	if m.Data != nil {
		dst = field(dst, "data")
		p.Data = len(dst)
		dst = append(dst, m.Data...)
	}
	if m.TimeToLive != nil {
		dst = strconv.AppendInt(field(dst, "time_to_live"), *m.TimeToLive, 10)
	}
	return append(dst, '}'), p
}
