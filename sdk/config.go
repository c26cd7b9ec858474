package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Duration is for config structs: a JSON string such as "1m30s".
type Duration time.Duration

// UnmarshalText takes what time.ParseDuration takes.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it as \"1m30s\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the form that UnmarshalText takes.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// decodeConfig fills into from the host's config object, "" or {} for none.
func decodeConfig(object []byte, into any) error {
	if object = bytes.TrimSpace(object); len(object) == 0 {
		object = []byte("{}")
	}
	if into == nil {
		into = &struct{}{} // so that every key is one too many
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("config: %w", readable(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("config: more follows after the object")
	}
	return nil
}

// readable puts encoding/json's errors in a config author's words.
func readable(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return fmt.Errorf("it is a %s, but must be an object", wrong.Value)
		}
		return fmt.Errorf("key %q is a %s, but must be a %s", wrong.Field, wrong.Value, wrong.Type)
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("this plugin knows no key %s", key)
	}
	return err
}
