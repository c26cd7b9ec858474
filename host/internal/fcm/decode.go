// Package fcm reads and writes CCS's payloads: the JSON inside a stanza
// (ccs-protocol.md §2-§7). It serves P1 and P10. A payload that can't be
// understood still tells whom to ack, as far as it can be read. Unknown fields,
// types and codes do no harm. A payload's "data" is never encoded again. The
// package starts no goroutine. Start at [Decode].
package fcm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"balhost/host/internal/entry"
)

// Kind says what a payload is.
type Kind uint8

// The kinds of payload. Unknown is not an error: log it and ignore it (ccs-protocol.md §2 rule 1).
const (
	Unknown  Kind = iota
	Upstream      // from a device; must be acked
	Ack           // answers one of our downstreams
	Nack          // answers one of our downstreams
	Receipt       // CCS's notice that a device got a downstream; must be acked
	Control       // about the connection
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Upstream:
		return "upstream"
	case Ack:
		return "ack"
	case Nack:
		return "nack"
	case Receipt:
		return "receipt"
	case Control:
		return "control"
	}
	return "unknown"
}

// ConnectionDraining is the only known control type. It is also a code of nacks (ccs-protocol.md §7).
const ConnectionDraining = "CONNECTION_DRAINING"

// receiptFrom is the "from" of a receipt (ccs-protocol.md §6).
const receiptFrom = "gcm.googleapis.com"

// Frame is one payload from CCS.
type Frame struct {
	Kind        Kind
	MessageType string // as it came

	// Upstream, Receipt: the ack names From and the whole MessageID (with "dr2:"
	// for a receipt). Ack, Nack: MessageID is the downstream's, and From is its target.
	From      Name
	MessageID Name

	Category string          // Upstream, Receipt; may be ""
	Data     json.RawMessage // Upstream: an object, or nil; shares memory with the decoded bytes
	Places   entry.Places    // Upstream: where these fields are in the decoded bytes

	Code, Description string // Nack; Code can be any text, also ""
	RegistrationID    string // Ack: the device's new token; usually ""
	ControlType       string // Control; only [ConnectionDraining] is known
	Receipt           ReceiptFields
}

// ReceiptFields are a receipt's "data". Only OriginalMessageID is always set.
type ReceiptFields struct {
	OriginalMessageID string // of the downstream
	Device            string // registration token
	Status            string // MESSAGE_SENT_TO_DEVICE is the only known one
	SentAt            time.Time
}

// DecodeError is a payload that can't be understood. With both From and
// MessageID, it is or may be an upstream or a receipt. Then it must be kept as a
// dead letter and acked, or CCS sends it for ever (P1). Without them it can't be
// acked. If Awaited is true, such a payload occupies a slot of CCS's window.
type DecodeError struct {
	Kind            Kind // from message_type; Upstream if that can't be found
	From, MessageID Name
	Reason          string
}

func (e *DecodeError) Error() string { return "unusable payload: " + e.Reason }

// Awaited reports whether CCS probably waits for an ack of the payload. A payload
// of an unknown type without "from" and "message_id" is treated like a control
// message: CCS waits for no ack of it.
func (e *DecodeError) Awaited() bool {
	switch e.Kind {
	case Upstream, Receipt:
		return true
	case Unknown:
		return e.From.Given() || e.MessageID.Given()
	}
	return false
}

var errNotUTF8 = errors.New("the text is not UTF-8")

// fields are the raw values of the payload's outermost object. nil means missing
// or null. Only from and messageID can be the raw value null.
type fields struct {
	from, messageID, messageType, category, data []byte
	code, description, registrationID, control   []byte
}

// Decode reads one payload. A field of an unexpected type counts as missing, if
// this does not change what a plugin gets. The error is a [*DecodeError]. To fill
// it, Decode reads broken JSON as far as possible: see [loose].
func Decode(b []byte) (Frame, error) {
	var raw fields
	whole, err := false, errNotUTF8
	if utf8.Valid(b) {
		whole, err = object(b, raw.set)
	}
	if err != nil && !(whole && raw.from != nil && raw.messageID != nil) {
		raw = fields{}
		loose(b, raw.set)
	}
	f, err := raw.frame(err)
	if err == nil && f.Kind == Upstream {
		f.Places = entry.Places{From: place(b, raw.from), Category: place(b, raw.category), MessageID: place(b, raw.messageID), Data: place(b, raw.data)}
	}
	return f, err
}

// place is the index in b at which the text of value begins; 0 for nil. value is
// a subslice of b up to the same capacity, so the difference of the capacities is
// the index of value.
func place(b, value []byte) int {
	if value == nil {
		return 0
	}
	at := cap(b) - cap(value)
	if value[0] == '"' {
		at++
	}
	return at
}

var errCut = errors.New("the middle of the payload is missing")

// DecodeEnds reads the beginning and the end of a payload whose middle is
// missing. They don't make an upstream or a receipt, but "from" and "message_id"
// can be found in them. If head and tail contradict each other, they belong to
// two payloads; the error then has no names.
func DecodeEnds(head, tail []byte) (Frame, error) {
	var raw, last fields
	loose(head, raw.set)
	backwards(tail, last.set)
	clash := func(a, b []byte) bool { return a != nil && b != nil && !bytes.Equal(a, b) }
	if clash(raw.from, last.from) || clash(raw.messageID, last.messageID) {
		return Frame{}, &DecodeError{Kind: Upstream, Reason: errCut.Error()}
	}
	backwards(tail, raw.set)
	return raw.frame(errCut)
}

// frame makes a Frame of the fields. broken is the error in the JSON around them, or nil.
func (raw *fields) frame(broken error) (Frame, error) {
	f := Frame{Kind: raw.kind(), From: name(raw.from), MessageID: name(raw.messageID)}
	f.MessageType, _ = text(raw.messageType)
	f.Category, _ = text(raw.category)
	err, toAck := broken, f.Kind == Upstream || f.Kind == Receipt || f.Kind == Unknown
	if err == nil || !toAck { // for an ack, nack or control the fields that were found are enough
		err = f.read(raw)
	}
	if err == nil {
		return f, nil
	}
	bad := &DecodeError{Kind: f.Kind, Reason: err.Error()}
	if toAck {
		bad.From, bad.MessageID = f.From, f.MessageID
	}
	return Frame{}, bad
}

func (raw *fields) set(key, value []byte) {
	field := string(key)
	if strings.IndexByte(field, '\\') >= 0 {
		field, _ = unquote(key)
	}
	switch field { // an ack can give back null too
	case "from":
		raw.from = value
		return
	case "message_id":
		raw.messageID = value
		return
	}
	if string(value) == "null" {
		value = nil
	}
	switch field {
	case "message_type":
		raw.messageType = value
	case "category":
		raw.category = value
	case "data":
		raw.data = value
	case "error":
		raw.code = value
	case "error_description":
		raw.description = value
	case "registration_id":
		raw.registrationID = value
	case "control_type":
		raw.control = value
	}
}

func (raw *fields) kind() Kind {
	t, err := text(raw.messageType)
	if t == "" && err == nil {
		return Upstream
	}
	for k := Ack; k <= Control; k++ {
		if t == k.String() {
			return k
		}
	}
	return Unknown
}

// read sets the fields that f's kind has. The error names what is missing or wrong.
func (f *Frame) read(raw *fields) error {
	switch f.Kind {
	case Upstream:
		if err := f.From.check("from"); err != nil {
			return err
		}
		if f.Category == "" {
			if _, err := text(raw.category); err != nil {
				return fmt.Errorf("category %w", err)
			}
		}
		if raw.data != nil && raw.data[0] != '{' {
			return fmt.Errorf("data is %s, not an object", typeOf(raw.data))
		}
		f.Data = raw.data
	case Ack:
		f.RegistrationID, _ = text(raw.registrationID)
	case Nack:
		f.Code, f.Description = nack(raw)
		for _, n := range []*Name{&f.From, &f.MessageID} {
			if n.check("") != nil { // null, for example: no downstream has such a name
				*n = Name{}
			}
		}
		return nil // a nack without a message_id still tells CCS's reason
	case Receipt:
		if !f.From.Given() {
			f.From = Name{Text: receiptFrom}
		}
		if err := f.Receipt.read(raw.data); err != nil {
			return err
		}
	case Control:
		f.ControlType, _ = text(raw.control)
		return nil
	case Unknown:
		if f.From.Given() || f.MessageID.Given() { // CCS may wait for its ack
			return fmt.Errorf("message_type is %s, which is unknown", excerpt(raw.messageType))
		}
		return nil
	}
	return f.MessageID.check("message_id")
}

// nack returns code and description. In 2013 both were in the field "error"
// (ccs-protocol.md §4).
func nack(raw *fields) (code, description string) {
	code, _ = text(raw.code)
	description, _ = text(raw.description)
	if i := strings.IndexAny(code, " :"); i >= 0 {
		if description == "" {
			description = strings.Trim(code[i:], " :")
		}
		code = code[:i]
	}
	return code, description
}

func (r *ReceiptFields) read(data []byte) error {
	if data == nil {
		return errors.New("data is missing")
	}
	var original, sent []byte
	_, err := object(data, func(key, value []byte) {
		switch string(key) {
		case "original_message_id":
			original = value
		case "device_registration_id":
			r.Device, _ = text(value)
		case "message_status":
			r.Status, _ = text(value)
		case "message_sent_timestamp":
			sent = value
		}
	})
	if err != nil {
		return fmt.Errorf("data is %s, not an object", typeOf(data))
	}
	// Milliseconds, as a string. encoding/json can't write a time after the year
	// 9999, so such a time counts as missing.
	ms, err := strconv.ParseInt(strings.Trim(string(sent), `"`), 10, 64)
	if at := time.UnixMilli(ms); err == nil && ms > 0 && at.UTC().Year() <= 9999 {
		r.SentAt = at
	}
	if r.OriginalMessageID, err = text(original); err != nil {
		return fmt.Errorf("data.original_message_id %w", err)
	}
	if r.OriginalMessageID == "" {
		return errors.New("data.original_message_id is missing")
	}
	return nil
}

// text is the text of a raw string. It is "" for nil. Another type is an error.
func text(raw []byte) (string, error) {
	if raw == nil {
		return "", nil
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("is %s, not a string", typeOf(raw))
	}
	s, ok := unquote(raw[1 : len(raw)-1])
	if !ok {
		return "", errors.New("contains half of a surrogate pair")
	}
	return s, nil
}

// typeOf names the type of a raw value.
func typeOf(raw []byte) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// excerpt is at most the first 64 bytes of a raw value.
func excerpt(raw []byte) string {
	const enough = 64
	if len(raw) > enough {
		return strings.ToValidUTF8(string(raw[:enough]), "") + "…"
	}
	return strings.ToValidUTF8(string(raw), "")
}
