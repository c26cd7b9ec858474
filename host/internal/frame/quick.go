package frame

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// quick reads a frame as nearly all devices write them: no white space, no escapes in texts
// outside of data, and none but the usual fields, each once. ok is false for any other one,
// good or bad, and [DecodeFrame] reads that. b is UTF-8.
func quick(b []byte) (f Frame, ok bool) {
	if len(b) == 0 || b[0] != '{' {
		return f, false
	}
	for rest := b; len(rest) > 1; {
		key, after, ok := quickText(rest[1:]) // behind { or a comma
		if !ok || len(after) == 0 || after[0] != ':' {
			return f, false
		}
		if rest, ok = f.quickField(key, after[1:]); !ok || len(rest) == 0 {
			return f, false
		}
		switch {
		case rest[0] == ',':
		case len(rest) == 1 && rest[0] == '}':
			return f, f.Type != ""
		default:
			return f, false
		}
	}
	return f, false
}

// quickField reads the value of a field, and returns what follows it.
func (f *Frame) quickField(key, b []byte) (rest []byte, ok bool) {
	switch string(key) {
	case "data":
		if f.Data != nil {
			return nil, false
		}
		if len(b) == 0 || b[0] != '{' {
			return nil, false
		}
		n, _ := walk(b, maxDepth)
		if n == 0 || !json.Valid(b[:n]) {
			return nil, false
		}
		f.Data = bytes.Clone(b[:n])
		return b[n:], true
	case "time_to_live":
		if f.TimeToLive != nil {
			return nil, false
		}
		n, rest, ok := quickNumber(b)
		f.TimeToLive = &n
		return rest, ok
	case "type":
		value, rest, ok := quickText(b)
		ok = ok && f.Type == ""
		f.Type = known(value)
		return rest, ok
	}
	into := f.quickTarget(key)
	if into == nil || *into != "" {
		return nil, false
	}
	value, rest, ok := quickText(b)
	*into = string(value)
	return rest, ok
}

// quickTarget is where the text of a field belongs; nil: it is none of the usual ones.
func (f *Frame) quickTarget(key []byte) *string {
	switch string(key) {
	case "message_id":
		return &f.MessageID
	case "original_message_id":
		return &f.Original
	case "status":
		return &f.Status
	case "category":
		return &f.Category
	}
	return nil
}

// known is a type, without new memory for those that come often.
func known(t []byte) Type {
	switch string(t) {
	case string(TypeUpstream):
		return TypeUpstream
	case string(TypeAck):
		return TypeAck
	case string(TypeReceipt):
		return TypeReceipt
	case string(TypePong):
		return TypePong
	}
	return Type(t)
}

// quickText reads a text without escapes, and returns what follows it.
func quickText(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i], b[i+1:], true
		case c == '\\' || c < ' ':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// quickNumber reads a number that is whole and not negative.
func quickNumber(b []byte) (n int64, rest []byte, ok bool) {
	end := 0
	for end < len(b) && '0' <= b[end] && b[end] <= '9' {
		end++
	}
	if end == 0 || end > 1 && b[0] == '0' {
		return 0, nil, false
	}
	n, err := strconv.ParseInt(string(b[:end]), 10, 64)
	return n, b[end:], err == nil
}
