// Package fcm reads and writes CCS's payloads, the JSON inside a stanza
// (ccs-protocol.md §2-§7). It serves P1 and P10: a payload that makes no sense
// still tells whom to ack, if it can be read at all, and unknown fields, types
// and codes are harmless. A payload's "data" is never re-encoded. It starts
// nothing. Start at [Decode].
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

// The kinds of payload. Unknown is no error: log and ignore it (ccs-protocol.md §2 rule 1).
const (
	Unknown  Kind = iota
	Upstream      // from a device; must be acked
	Ack           // answers one of our downstreams
	Nack          // answers one of our downstreams
	Receipt       // from a device, by way of CCS; must be acked
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

// ConnectionDraining is the one control type there is, and a nack's code too (ccs-protocol.md §7).
const ConnectionDraining = "CONNECTION_DRAINING"

// receiptFrom stands in a receipt's "from" (ccs-protocol.md §6).
const receiptFrom = "gcm.googleapis.com"

// Frame is one payload from CCS.
type Frame struct {
	Kind        Kind
	MessageType string // as it came

	// Upstream, Receipt: an ack goes to From with MessageID, whole (a receipt's
	// with its "dr2:"). Ack, Nack: MessageID is the downstream's, From its target.
	From      Name
	MessageID Name

	Category string          // Upstream, Receipt; may be ""
	Data     json.RawMessage // Upstream: an object, shares memory with what was decoded; nil without one
	Places   entry.Places    // Upstream: of these in what was decoded

	Code, Description string // Nack; Code may be "" or anything
	RegistrationID    string // Ack: the device's new token; mostly ""
	ControlType       string // Control; only [ConnectionDraining] is known
	Receipt           ReceiptFields
}

// ReceiptFields are a receipt's "data". All but OriginalMessageID may be empty.
type ReceiptFields struct {
	OriginalMessageID string // of the downstream
	Device            string // registration token
	Status            string // MESSAGE_SENT_TO_DEVICE is the only one known
	SentAt            time.Time
}

// DecodeError is a payload that cannot be understood. When From and MessageID
// are both there it is, or may be, an upstream or a receipt: it must be kept as
// a dead letter and acked, else CCS sends it for ever (P1). Otherwise there is
// nobody to ack: if Awaited, it holds a slot of CCS's window.
type DecodeError struct {
	Kind            Kind // what it set out to be; Upstream when that can't be read
	From, MessageID Name
	Reason          string
}

func (e *DecodeError) Error() string { return "unusable payload: " + e.Reason }

// Awaited reports whether CCS waits for an ack of it, as far as can be told:
// what is of an unknown type and names neither sender nor message is news of
// CCS's own, as its control messages are.
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

// fields are the raw values of the envelope; nil for one that is missing or null.
type fields struct {
	from, messageID, messageType, category, data []byte
	code, description, registrationID, control   []byte
}

// Decode reads one payload. A field of an unexpected type counts as missing,
// unless that would change what a plugin gets. Its error is a [*DecodeError],
// for which broken JSON is read as far as it makes sense: see [loose].
func Decode(b []byte) (Frame, error) {
	var raw fields
	whole, err := false, errNotUTF8
	if utf8.Valid(b) {
		whole, err = object(b, raw.take)
	}
	if err != nil && !(whole && raw.from != nil && raw.messageID != nil) {
		raw = fields{}
		loose(b, raw.take)
	}
	f, err := raw.frame(err)
	if err == nil && f.Kind == Upstream {
		f.Places = entry.Places{From: place(b, raw.from), Category: place(b, raw.category), MessageID: place(b, raw.messageID), Data: place(b, raw.data)}
	}
	return f, err
}

// place is where in b the text of a value stands that the scanner cut out of it. The
// scanner bounds no capacity, so a value has as much less of it as lies before.
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

var errCut = errors.New("its middle was left out")

// DecodeEnds reads how a payload begins and ends whose middle is not there: no
// upstream or receipt can be made of it, but names can be found. Where the ends
// contradict each other they are of two payloads, and name nothing.
func DecodeEnds(head, tail []byte) (Frame, error) {
	var raw, last fields
	loose(head, raw.take)
	backwards(tail, last.take)
	clash := func(a, b []byte) bool { return a != nil && b != nil && !bytes.Equal(a, b) }
	if clash(raw.from, last.from) || clash(raw.messageID, last.messageID) {
		return Frame{}, &DecodeError{Kind: Upstream, Reason: errCut.Error()}
	}
	backwards(tail, raw.take)
	return raw.frame(errCut)
}

// frame is what the fields say; broken is what is wrong with the JSON that they stand in.
func (raw *fields) frame(broken error) (Frame, error) {
	f := Frame{Kind: raw.kind(), From: name(raw.from), MessageID: name(raw.messageID)}
	f.MessageType, _ = text(raw.messageType)
	f.Category, _ = text(raw.category)
	err := broken
	switch f.Kind {
	case Ack, Nack, Control: // what they are for can be read: a broken end changes nothing about it
		err = nil
	}
	if err == nil {
		err = f.read(raw)
	}
	if err == nil {
		return f, nil
	}
	bad := &DecodeError{Kind: f.Kind, Reason: err.Error()}
	if f.Kind == Upstream || f.Kind == Receipt || f.Kind == Unknown {
		bad.From, bad.MessageID = f.From, f.MessageID
	}
	return Frame{}, bad
}

func (raw *fields) take(key, value []byte) {
	field := string(key)
	if strings.IndexByte(field, '\\') >= 0 {
		field, _ = unquote(key)
	}
	switch field { // null too can be given back
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
	switch {
	case err != nil:
		return Unknown
	case t == "":
		return Upstream
	case t == "ack":
		return Ack
	case t == "nack":
		return Nack
	case t == "receipt":
		return Receipt
	case t == "control":
		return Control
	}
	return Unknown
}

// read fills in what f's kind has, and says what it lacks.
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
			return fmt.Errorf("data is %s, not an object", what(raw.data))
		}
		f.Data = raw.data
	case Ack:
		f.RegistrationID, _ = text(raw.registrationID)
	case Nack:
		f.Code, f.Description = nack(raw)
		for _, n := range []*Name{&f.From, &f.MessageID} { // null and the like are none of ours
			if n.check("") != nil {
				*n = Name{}
			}
		}
		return nil // without a message_id it is still CCS's reason
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
		if f.From.Given() || f.MessageID.Given() { // somebody may wait for its ack
			return fmt.Errorf("message_type is %s, which is unknown", excerpt(raw.messageType))
		}
		return nil
	}
	return f.MessageID.check("message_id")
}

// nack splits code and detail, which shared one field in 2013 (ccs-protocol.md §4).
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
		return fmt.Errorf("data is %s, not an object", what(data))
	}
	// Milliseconds, as a string; a time that no JSON could say again is none.
	ms, err := strconv.ParseInt(strings.Trim(string(sent), `"`), 10, 64)
	if at := time.UnixMilli(ms); err == nil && ms > 0 && at.UTC().Year() <= 9999 {
		r.SentAt = at
	}
	r.OriginalMessageID, _ = text(original)
	return required("data.original_message_id", r.OriginalMessageID, original)
}

// text is the text of a raw value: "" for none, an error for another type.
func text(raw []byte) (string, error) {
	if raw == nil {
		return "", nil
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("is %s, not a string", what(raw))
	}
	s, ok := unquote(raw[1 : len(raw)-1])
	if !ok {
		return "", errors.New("holds half a surrogate pair")
	}
	return s, nil
}

// required says why a text that must be there is not.
func required(name, got string, raw []byte) error {
	if got != "" {
		return nil
	}
	if _, err := text(raw); err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	return fmt.Errorf("%s is missing", name)
}

// what names the type of a raw value.
func what(raw []byte) string {
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

// excerpt shows the beginning of a raw value.
func excerpt(raw []byte) string {
	const enough = 64
	if len(raw) > enough {
		return strings.ToValidUTF8(string(raw[:enough]), "") + "…"
	}
	return strings.ToValidUTF8(string(raw), "")
}
