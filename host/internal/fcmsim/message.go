package fcmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// message is one request to send, as it was read.
type message struct {
	kind         Kind
	target       string
	data         map[string]string // what an Android app gets
	notification json.RawMessage
	collapseKey  string
	ttl          ttl
	validateOnly bool
	balID        string
}

// Kind is the kind of a message's target.
type Kind string

// The kinds of targets.
const (
	KindToken     Kind = "token"
	KindFID       Kind = "fid"
	KindTopic     Kind = "topic"
	KindCondition Kind = "condition"
)

// fault is what is wrong with a message. Its answer is a 400.
type fault struct {
	field string // the path in the request
	text  string
	coded bool // FCM says it, and not the front end: an FcmError is there too
}

func (f *fault) response() Response {
	switch {
	case f.field == "":
		return failure(400, f.text, fcmError("INVALID_ARGUMENT"))
	case f.coded:
		return failure(400, f.text, badRequest(f.field, f.text), fcmError("INVALID_ARGUMENT"))
	}
	return failure(400, f.text, badRequest(f.field, f.text))
}

// decode reads the body of a request to send, and checks it as far as it is alone.
// An error is a *fault. Spec: fcm-v1-and-gateway.md A1-A3.
func decode(body []byte) (message, *fault) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var request map[string]any
	err := d.Decode(&request)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("data after the root object")
		}
	}
	if err != nil {
		return message{}, &fault{field: "", text: "Invalid JSON payload received. " + err.Error()}
	}
	request, f := normal(request, sendRequest, "")
	if f != nil {
		return message{}, f
	}
	content, ok := request["message"].(map[string]any)
	if !ok {
		return message{}, &fault{"message", "Message is required.", true}
	}
	m := message{}
	m.validateOnly, _ = request["validate_only"].(bool)
	for _, check := range []func(map[string]any) *fault{m.readTarget, m.readData, m.readAndroid, checkAPNs, checkLabels, m.checkSize} {
		if f := check(content); f != nil {
			return m, f
		}
	}
	if n, ok := content["notification"]; ok {
		m.notification, _ = json.Marshal(n) // it was JSON a moment ago
	}
	return m, nil
}

// normal checks an object against its schema. It returns it with names in snake_case.
func normal(in map[string]any, s schema, at string) (map[string]any, *fault) {
	out := make(map[string]any, len(in))
	for name, v := range in {
		key := snake(name)
		f, known := s[key]
		if !known {
			return nil, unknownField(name, at)
		}
		if _, twice := out[key]; twice {
			return nil, &fault{field: at, text: fmt.Sprintf("Invalid JSON payload received. Field %q is there twice.", key)}
		}
		if v == nil {
			continue // null is as absent
		}
		v, bad := f.normal(v, strings.TrimPrefix(at+"."+key, "."))
		if bad != nil {
			return nil, bad
		}
		out[key] = v
	}
	return out, nil
}

func unknownField(name, at string) *fault {
	place := ""
	if at != "" {
		place = fmt.Sprintf(" at '%s'", at)
	}
	return &fault{field: at, text: fmt.Sprintf("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", name, place)}
}

// normal checks one value. A group comes back with names in snake_case.
func (f field) normal(v any, at string) (any, *fault) {
	ok, form := false, "TYPE_STRING"
	switch f.kind {
	case group:
		if o, isObject := v.(map[string]any); isObject {
			return normal(o, f.schema, at)
		}
		form = "TYPE_MESSAGE"
	case free:
		_, ok = v.(map[string]any)
		form = "type.googleapis.com/google.protobuf.Struct"
	case text:
		_, ok = v.(string)
	case flag:
		_, ok = v.(bool)
		form = "TYPE_BOOL"
	case number, fraction:
		_, ok = v.(json.Number)
		form = "TYPE_NUMBER"
	case duration:
		ok, form = isDuration(v), "type.googleapis.com/google.protobuf.Duration"
	case choice:
		var name string
		if name, ok = v.(string); ok {
			v, ok = strings.ToUpper(name), slices.Contains(f.names, strings.ToUpper(name))
		}
		form = "type.googleapis.com/google.firebase.fcm.v1 enum"
	case strs:
		return v, stringMap(v, at)
	case list, spans:
		return v, f.array(v, at)
	}
	if !ok {
		return nil, invalidValue(at, form, v)
	}
	return v, nil
}

func invalidValue(at, form string, v any) *fault {
	shown, _ := json.Marshal(v)
	return &fault{field: at, text: fmt.Sprintf("Invalid value at '%s' (%s), %.100s", at, form, shown)}
}

func isDuration(v any) bool {
	s, ok := v.(string)
	return ok && durationForm.MatchString(s)
}

func stringMap(v any, at string) *fault {
	m, ok := v.(map[string]any)
	if !ok {
		return invalidValue(at, "TYPE_MESSAGE", v)
	}
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if _, ok := m[key].(string); !ok {
			return invalidValue(fmt.Sprintf("%s[%d].value", at, i), "TYPE_STRING", m[key])
		}
	}
	return nil
}

func (f field) array(v any, at string) *fault {
	a, ok := v.([]any)
	if !ok {
		return invalidValue(at, "TYPE_MESSAGE", v)
	}
	for i, e := range a {
		_, isText := e.(string)
		switch at := fmt.Sprintf("%s[%d]", at, i); {
		case f.kind == list && !isText:
			return invalidValue(at, "TYPE_STRING", e)
		case f.kind == spans && !isDuration(e):
			return invalidValue(at, "type.googleapis.com/google.protobuf.Duration", e)
		}
	}
	return nil
}
