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

// Duration is a time.Duration for config structs. In config.hcl it is a string such
// as "1m30s".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it like \"1m30s\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// decodeConfig decodes the config object into into. object is "" or {} if the
// config has none.
func decodeConfig(object []byte, into any) error {
	if object = bytes.TrimSpace(object); len(object) == 0 {
		object = []byte("{}")
	}
	if into == nil {
		into = &struct{}{} // so that every key is an error
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("config: %w", readable(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("config: something follows after the object")
	}
	return nil
}

// readable words encoding/json's errors for the person who writes the config.
func readable(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return fmt.Errorf("it is of type %s, but must be an object", wrong.Value)
		}
		return fmt.Errorf("key %q is of type %s, but must be of type %s", wrong.Field, wrong.Value, wrong.Type)
	}
	if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("this plugin has no key %s", key)
	}
	return err
}
