package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"balhost/sdk/message"
)

// read decodes a body, which is one JSON object, into the struct that v points to.
// If it can't, it answers with the error and returns false.
func read(w http.ResponseWriter, r *http.Request, v any) bool { return readUpTo(w, r, maxBody, v) }

// readUpTo is read of a body that may have so many bytes.
func readUpTo(w http.ResponseWriter, r *http.Request, most int64, v any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		readWithin(w, 0) // or the request's context would end at the deadline
		if err = decode(body, v); err == nil {
			return true
		}
	}
	code := http.StatusBadRequest
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		code, err = http.StatusRequestEntityTooLarge, fmt.Errorf("the body is longer than %d bytes", most)
	}
	fail(w, code, err)
	return false
}

// decode is a strict json.Unmarshal into a struct. Its error lists every wrong field
// by its name in the body. A field must not appear twice or in another case, and no
// string may change by decoding (ccs-protocol.md §2 rule 3).
func decode(body []byte, v any) error {
	var object map[string]json.RawMessage
	var syntax *json.SyntaxError
	switch err := json.Unmarshal(body, &object); {
	case errors.As(err, &syntax):
		return fmt.Errorf("read the body: %w (at byte %d)", err, syntax.Offset)
	case err != nil || object == nil:
		return fmt.Errorf("read the body: it is %s, want a JSON object", excerpt(bytes.TrimSpace(body)))
	}
	fields := map[string]reflect.Value{}
	for i, s := 0, reflect.ValueOf(v).Elem(); i < s.NumField(); i++ {
		name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
		fields[name] = s.Field(i)
	}
	var wrong []error
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(body)) // keeps the order and repeated fields, which a map hides
	_, _ = d.Token()                            // its {
	for d.More() && len(wrong) < maxWrong {
		var value json.RawMessage
		key, _ := d.Token()
		_ = d.Decode(&value) // it was found valid above
		name := key.(string)
		field, known := fields[name]
		switch {
		case !known:
			wrong = append(wrong, fmt.Errorf("%.64q is not a field: there are %s", name, names(v)))
		case seen[name]:
			wrong = append(wrong, fmt.Errorf("%s is there twice: leave one out", name))
		default:
			if err := message.CheckText(name, value); err != nil {
				wrong = append(wrong, err)
			} else if json.Unmarshal(value, field.Addr().Interface()) != nil {
				wrong = append(wrong, fmt.Errorf("%s is %s: want %s", name, excerpt(value), wanted(field.Type())))
			}
		}
		seen[name] = true
	}
	return errors.Join(wrong...)
}

// maxWrong is the most mistakes that one error lists: a body may have any number.
const maxWrong = 20

// names lists the fields of the struct that v points to, in order.
func names(v any) string {
	var all []string
	for t, i := reflect.TypeOf(v).Elem(), 0; i < t.NumField(); i++ {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// wanted says which JSON a field of that type takes.
func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[time.Time]() {
		return "a date such as \"2026-12-24T18:00:00Z\""
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "an array, each of it " + wanted(t.Elem())
	}
	return "other JSON"
}

// excerpt shows the beginning of a JSON value.
func excerpt(value []byte) string {
	const enough = 40
	if len(value) > enough {
		return fmt.Sprintf("%s… (%d bytes)", bytes.ToValidUTF8(value[:enough], nil), len(value))
	}
	return string(bytes.ToValidUTF8(value, []byte("\uFFFD")))
}
