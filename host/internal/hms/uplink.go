package hms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"balhost/sdk/message"
)

// Uplink is one message of a device.
type Uplink struct {
	From      string          // the device's HMS token
	Category  string          // the app's package name
	MessageID string          // the device's; often a time in milliseconds
	Data      json.RawMessage // an object; nil: there was none
}

// Errors of [ParseUplink]. The message can be nobody's.
var (
	ErrNotJSON   = errors.New("the body is not one JSON object in UTF-8")
	ErrNoFrom    = errors.New("from is absent, or no text")
	ErrMessageID = errors.New("message_id is absent, or neither a text nor a number")
)

// ParseUplink reads the body of an uplink. Data that is not the base64 of a JSON object
// becomes {"raw": it}. With an error, the fields that could be read are set.
func ParseUplink(body []byte) (u Uplink, err error) {
	var in struct {
		From      json.RawMessage `json:"from"`
		Category  json.RawMessage `json:"category"`
		MessageID json.RawMessage `json:"message_id"`
		Data      json.RawMessage `json:"data"`
	}
	if !utf8.Valid(body) || !isObject(body) || json.Unmarshal(body, &in) != nil {
		return u, ErrNotJSON
	}
	u = Uplink{From: text(in.From), Category: text(in.Category), MessageID: textOrNumber(in.MessageID), Data: data(in.Data)}
	switch {
	case u.From == "":
		return u, ErrNoFrom
	case u.MessageID == "":
		return u, ErrMessageID
	}
	return u, nil
}

// isObject reports whether b, if it is JSON, is an object.
func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{'
}

func text(raw json.RawMessage) (s string) {
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	return ""
}

// textOrNumber is a text, or a number as it is written. A text with half of a surrogate
// pair is as it is written, too: decoded, two different ids could become one.
func textOrNumber(raw json.RawMessage) string {
	if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return string(raw)
	}
	s := text(raw)
	if strings.ContainsRune(s, utf8.RuneError) && message.CheckText("message_id", raw) != nil {
		return strings.Trim(string(raw), `"`)
	}
	return s
}

// data makes an object of what the app has sent.
func data(raw json.RawMessage) json.RawMessage {
	if raw == nil || string(raw) == "null" || isObject(raw) {
		if isObject(raw) {
			return raw
		}
		return nil
	}
	sent := string(raw)
	if raw[0] == '"' {
		sent = text(raw)
		if object := decoded(sent); object != nil {
			return object
		}
	}
	out, err := json.Marshal(map[string]string{"raw": sent})
	if err != nil { // a text has no error
		return nil
	}
	return out
}

// decoded is the object of which s is the base64, in any of its forms; nil if it is none.
func decoded(s string) json.RawMessage {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || !utf8.Valid(b) || !isObject(b) || !json.Valid(b) {
		return nil
	}
	return bytes.TrimSpace(b)
}
