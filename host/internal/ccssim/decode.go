package ccssim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// downstream is a client's message, or an ack that scanAck can't read.
type downstream struct {
	target      string // token, "/topics/x" or condition
	id          string // "" if there is no message_id to answer with
	isAck       bool
	collapseKey string
	dryRun      bool
	receipt     bool
	fields      map[string]json.RawMessage
}

// decode reads and checks a client's JSON as strictly as CCS did
// (ccs-protocol.md §3). With an error, m.id decides the answer: a nack if there is
// an id, else a stanza error.
func decode(payload []byte) (m downstream, err error) {
	if err := json.Unmarshal(payload, &m.fields); err != nil {
		return m, fmt.Errorf("not a JSON object: %w", err)
	}
	r := fields{m: m.fields}
	if r.text("message_type") == "ack" && r.err == nil {
		m.isAck, m.target, m.id = true, nameOf(m.fields["to"]), nameOf(m.fields["message_id"])
		return m, nil
	}
	m.id = r.text("message_id")
	if m.id == "" {
		return m, errors.New("message_id is missing or not a string")
	}
	to, condition := r.text("to"), r.text("condition")
	m.target = to + condition
	kind := r.text("message_type")
	m.collapseKey = r.text("collapse_key")
	m.dryRun, m.receipt = r.flag("dry_run"), r.flag("delivery_receipt_requested")
	r.flag("content_available")
	r.flag("mutable_content")
	r.seconds("time_to_live")
	size := r.strings("data") + r.strings("notification")
	limit := 4096
	if condition != "" || strings.HasPrefix(to, "/topics/") {
		limit = 2048
	}
	switch priority := r.text("priority"); {
	case r.err != nil:
		return m, r.err
	case kind != "":
		return m, fmt.Errorf("message_type %q: a client can't send it", kind)
	case (to == "") == (condition == ""):
		return m, errors.New("MissingRegistration: want exactly one of to and condition")
	case r.m["registration_ids"] != nil:
		return m, errors.New("registration_ids work only over HTTP")
	case priority != "" && priority != "normal" && priority != "high":
		return m, fmt.Errorf("priority %q: want normal or high", priority)
	case strings.Count(condition, "&&")+strings.Count(condition, "||") > 2:
		return m, errors.New("condition has more than two operators")
	case size > limit:
		return m, fmt.Errorf("MessageTooBig: %d bytes, limit %d", size, limit)
	}
	return m, reserved(m.fields["data"])
}

// nameOf is a "to" or "message_id" of an ack, as it is compared with what was
// sent. It is a string's text. Any other value is its JSON, and so is a string
// with half of a surrogate pair.
func nameOf(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, utf8.RuneError) {
		return string(raw)
	}
	return s
}

// reserved is an error for keys that are reserved for FCM. Spec: ccs-protocol.md §3.1.
func reserved(data json.RawMessage) error {
	var keys map[string]json.RawMessage
	_ = json.Unmarshal(data, &keys) // fields.strings has checked it
	for k := range keys {
		if k == "from" || k == "message_type" || strings.HasPrefix(k, "google") || strings.HasPrefix(k, "gcm") {
			return fmt.Errorf("InvalidDataKey: %q is reserved", k)
		}
	}
	return nil
}

// fields reads the members of an object by exact name. err is the first error.
type fields struct {
	m   map[string]json.RawMessage
	err error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

func (f *fields) text(name string) (s string) {
	if raw, ok := f.m[name]; ok && (json.Unmarshal(raw, &s) != nil || raw[0] != '"') {
		f.fail("JSON_TYPE_ERROR : %s must be a string", name)
	}
	return s
}

func (f *fields) flag(name string) (b bool) {
	if raw, ok := f.m[name]; ok && json.Unmarshal(raw, &b) != nil {
		f.fail("JSON_TYPE_ERROR : %s must be true or false", name)
	}
	return b
}

func (f *fields) seconds(name string) {
	raw, ok := f.m[name]
	if !ok {
		return
	}
	var n float64
	if json.Unmarshal(raw, &n) != nil || raw[0] == 'n' {
		f.fail("JSON_TYPE_ERROR : %s must be a number", name)
	} else if n < 0 || n > 2419200 {
		f.fail("INVALID_TTL : %s is %s, outside 0 to 2419200", name, raw)
	}
}

// strings checks an object of strings. size is the number of bytes of all keys and
// values.
func (f *fields) strings(name string) (size int) {
	raw, ok := f.m[name]
	if !ok {
		return 0
	}
	var obj map[string]*string
	if err := json.Unmarshal(raw, &obj); err != nil || obj == nil {
		f.fail("JSON_TYPE_ERROR : %s must be an object with string values", name)
		return 0
	}
	for k, v := range obj {
		if v == nil {
			f.fail("JSON_TYPE_ERROR : %s.%s must be a string", name, k)
			continue
		}
		size += len(k) + len(*v)
	}
	return size
}

// scanAck reads an ack of three plain strings, as most clients write it. It reports
// false for anything else. decode reads these acks too, but more slowly.
func scanAck(b []byte) (to, id []byte, ok bool) {
	var kind []byte
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' || bytes.IndexByte(b, '\\') >= 0 {
		return nil, nil, false
	}
	for rest := b[1 : len(b)-1]; ; rest = rest[1:] {
		parts := [2][]byte{}
		for i := range parts {
			if i == 1 {
				if len(rest) == 0 || rest[0] != ':' {
					return nil, nil, false
				}
				rest = rest[1:]
			}
			if len(rest) == 0 || rest[0] != '"' {
				return nil, nil, false
			}
			end := bytes.IndexByte(rest[1:], '"')
			if end < 0 {
				return nil, nil, false
			}
			parts[i], rest = rest[1:1+end], rest[2+end:]
		}
		switch string(parts[0]) {
		case "to":
			to = parts[1]
		case "message_id":
			id = parts[1]
		case "message_type":
			kind = parts[1]
		default:
			return nil, nil, false
		}
		if len(rest) == 0 {
			return to, id, string(kind) == "ack" && len(to) > 0 && len(id) > 0
		}
		if rest[0] != ',' {
			return nil, nil, false
		}
	}
}
