package frame

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"balhost/sdk/message"
)

// Subprotocol is what both ends of a WebSocket agree on. A browser can't set headers, so it
// may offer its token beside it, as BearerProtocol and the token in base64url.
const (
	Subprotocol    = "balhost.v1"
	BearerProtocol = "bearer."
)

// Type says what a [Frame] is. A type that is not listed here is ignored by both ends.
type Type string

// The types. Only TypeAck goes both ways.
const (
	TypeHello      Type = "hello"      // device: who it is; the first frame, and again with a new token
	TypeWelcome    Type = "welcome"    // host: answers hello
	TypeUpstream   Type = "upstream"   // device
	TypeAck        Type = "ack"        // host: an upstream or receipt is on disk; device: it has the downstream
	TypeNack       Type = "nack"       // host: an upstream or receipt is not stored
	TypeDownstream Type = "downstream" // host
	TypeReceipt    Type = "receipt"    // device: what became of a downstream
	TypePing       Type = "ping"       // host: after a silence, to be answered with pong
	TypePong       Type = "pong"       // device
	TypeDrain      Type = "drain"      // host: it will close; connect again after RetryAfter
)

// The codes with which the host closes a WebSocket, beside those of RFC 6455.
// Spec: fcm-v1-and-gateway.md C3.
const (
	CloseCredential = 4401 // the credential is missing, wrong or expired: get a new one, then connect again
	CloseForbidden  = 4403 // this credential's from or category is another
	CloseNoHello    = 4408 // the first frame did not come in time, or is no hello
	CloseReplaced   = 4409 // the device has connected again: don't reconnect
	CloseSlowDown   = 4429 // too much at once: wait at least 30 s
)

// The limits of a socket. Spec: fcm-v1-and-gateway.md C3, C5.
const (
	MaxFrame    = 64 << 10 // bytes of one frame
	MaxUnacked  = 20       // upstreams and receipts without an answer
	ReceiveMax  = 20       // downstreams without an ack, where hello does not say
	MostReceive = 100      // and the most that it can say
	MostHad     = 100      // ids in received
	maxDepth    = 64       // arrays and objects inside of one another
)

// Frame is one frame of a WebSocket: one JSON object. The fields of its Type are set, and
// no others. Data and Notification of a decoded frame share no memory with its bytes.
type Frame struct {
	Type Type `json:"type"`

	MessageID    string          `json:"message_id,omitempty"`          // Upstream, Downstream, Ack, Nack
	Data         json.RawMessage `json:"data,omitempty"`                // Upstream, Downstream: an object
	Notification json.RawMessage `json:"notification,omitempty"`        // Downstream: an object
	CollapseKey  string          `json:"collapse_key,omitempty"`        // Downstream
	TimeToLive   *int64          `json:"time_to_live,omitempty"`        // Upstream, Downstream: seconds that remain; nil: not limited by the sender
	Attempt      int             `json:"attempt,omitempty"`             // Downstream: 1 at first
	Error        string          `json:"error,omitempty"`               // Nack: a code
	Description  string          `json:"description,omitempty"`         // Nack: for people
	Temporary    bool            `json:"temporary,omitempty"`           // Nack: send it again, as nothing later of this connection is stored
	RetryAfter   int64           `json:"retry_after,omitempty"`         // Nack, Drain: seconds
	Category     string          `json:"category,omitempty"`            // Hello, Upstream
	From         string          `json:"from,omitempty"`                // Hello, Upstream
	Token        string          `json:"token,omitempty"`               // Hello: the credential, if the handshake has none
	AppCheck     string          `json:"app_check,omitempty"`           // Hello: an App Check token, where the handshake can't have its header
	ReceiveMax   int             `json:"receive_max,omitempty"`         // Hello: downstreams that it takes without an ack; 0 is the default
	Received     []string        `json:"received,omitempty"`            // Hello: ids of downstreams that it has, and whose acks may be lost
	MaxUnacked   int             `json:"max_unacked,omitempty"`         // Welcome: upstreams and receipts without an answer that the host bears
	PingSeconds  int             `json:"ping,omitempty"`                // Welcome: a ping comes after this silence, in seconds
	Time         int64           `json:"time,omitempty"`                // Welcome: the host's clock, in milliseconds since 1970
	Original     string          `json:"original_message_id,omitempty"` // Receipt, and its Ack or Nack: the downstream's id
	Status       string          `json:"status,omitempty"`              // Receipt, and its Ack or Nack
	Timestamp    int64           `json:"timestamp,omitempty"`           // Receipt: milliseconds since 1970
}

// FieldError is a frame whose JSON is good, with a field of another type than it should
// have. The frame's other fields are set.
type FieldError struct{ Field, Got string }

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s is of the wrong type: it is a JSON %s", e.Field, e.Got)
}

// Errors of DecodeFrame beside [FieldError].
var (
	ErrNotUTF8 = errors.New("the frame is not UTF-8")
	ErrNotJSON = errors.New("the frame is not one JSON object")
	ErrDeep    = fmt.Errorf("the frame has more than %d arrays and objects inside of one another", maxDepth)
	ErrNoType  = errors.New("the frame has no type")
	ErrHalf    = errors.New("a text of the frame has half of a surrogate pair")
)

// DecodeFrame reads one frame. Unknown fields are ignored.
func DecodeFrame(b []byte) (f Frame, err error) {
	if !utf8.Valid(b) {
		return f, ErrNotUTF8
	}
	if _, deep := walk(b, maxDepth); deep {
		return f, ErrDeep
	}
	if f, ok := quick(b); ok {
		return f, nil
	}
	return decode(b)
}

// decode reads one frame of any form. b is UTF-8, and not deep.
func decode(b []byte) (f Frame, err error) {
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return f, ErrNotJSON
	}
	err = json.Unmarshal(b, &f)
	wrong := new(json.UnmarshalTypeError)
	switch {
	case errors.As(err, &wrong):
		return f, &FieldError{Field: wrong.Field, Got: wrong.Value}
	case err != nil:
		return Frame{}, ErrNotJSON
	case f.Type == "":
		return f, ErrNoType
	case f.replaced() && message.CheckText("", b) != nil:
		return Frame{}, ErrHalf
	}
	return f, nil
}

// replaced reports whether a text by which something is known again has U+FFFD in it. The
// decoder writes that for half of a surrogate pair, so two different ids would become one.
func (f *Frame) replaced() bool {
	has := func(s string) bool { return strings.ContainsRune(s, utf8.RuneError) }
	return has(f.MessageID) || has(f.Original) || has(f.From) || has(f.Category) || has(f.Status) || slices.ContainsFunc(f.Received, has)
}

// Append appends f's JSON to dst. Data and Notification must be JSON already; they are
// not encoded again.
func (f *Frame) Append(dst []byte) []byte {
	dst = quote(append(dst, `{"type":`...), string(f.Type))
	dst = text(dst, "message_id", f.MessageID)
	dst = text(dst, "original_message_id", f.Original)
	dst = text(dst, "status", f.Status)
	dst = raw(dst, "data", f.Data)
	dst = raw(dst, "notification", f.Notification)
	dst = text(dst, "collapse_key", f.CollapseKey)
	if f.TimeToLive != nil {
		dst = strconv.AppendInt(append(dst, `,"time_to_live":`...), *f.TimeToLive, 10)
	}
	dst = number(dst, "attempt", int64(f.Attempt))
	dst = text(dst, "error", f.Error)
	dst = text(dst, "description", f.Description)
	if f.Temporary {
		dst = append(dst, `,"temporary":true`...)
	}
	dst = number(dst, "retry_after", f.RetryAfter)
	dst = text(dst, "category", f.Category)
	dst = text(dst, "from", f.From)
	dst = text(dst, "token", f.Token)
	dst = text(dst, "app_check", f.AppCheck)
	dst = number(dst, "receive_max", int64(f.ReceiveMax))
	if len(f.Received) > 0 {
		dst = append(dst, `,"received":[`...)
		for i, id := range f.Received {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = quote(dst, id)
		}
		dst = append(dst, ']')
	}
	dst = number(dst, "max_unacked", int64(f.MaxUnacked))
	dst = number(dst, "ping", int64(f.PingSeconds))
	dst = number(dst, "time", f.Time)
	dst = number(dst, "timestamp", f.Timestamp)
	return append(dst, '}')
}

func text(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return quote(field(dst, key), value)
}

func number(dst []byte, key string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(field(dst, key), value, 10)
}

func raw(dst []byte, key string, value json.RawMessage) []byte {
	if value == nil {
		return dst
	}
	return append(field(dst, key), value...)
}

func field(dst []byte, key string) []byte {
	return append(append(append(dst, ',', '"'), key...), '"', ':')
}

// quote appends s as a JSON string.
func quote(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string has no error
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}
