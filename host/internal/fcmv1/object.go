package fcmv1

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// object is a JSON object that is being built, with its fields in the order in which
// they were added. Objects in it are built by the same means.
type object []field

// field is one field of an object; exactly one of value and inside is set.
type field struct {
	name   string
	value  []byte // JSON text
	inside *object
}

// set adds a field with a JSON text.
func (o *object) set(name string, value []byte) { *o = append(*o, field{name: name, value: value}) }

// text adds a field with a string.
func (o *object) text(name, s string) { o.set(name, appendText(nil, s)) }

// in is the object in a field; it is added if it is missing. An object that stays
// empty is not written.
func (o *object) in(name string) *object {
	for _, f := range *o {
		if f.name == name && f.inside != nil {
			return f.inside
		}
	}
	inside := &object{}
	*o = append(*o, field{name: name, inside: inside})
	return inside
}

// lay lays a raw object over o: its fields replace those of o, but an object in both is
// joined field by field.
func (o *object) lay(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	var over map[string]json.RawMessage
	if err := json.Unmarshal(raw, &over); err != nil {
		return fmt.Errorf("read a raw block: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(over)) {
		value := over[name]
		i := slices.IndexFunc(*o, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			o.set(name, value)
		case (*o)[i].inside != nil && value[0] == '{':
			if err := (*o)[i].inside.lay(value); err != nil {
				return err
			}
		default:
			(*o)[i] = field{name: name, value: value}
		}
	}
	return nil
}

// empty reports whether nothing of o would be written.
func (o *object) empty() bool {
	return !slices.ContainsFunc(*o, func(f field) bool { return f.inside == nil || !f.inside.empty() })
}

// append writes o.
func (o *object) append(dst []byte) []byte {
	dst = append(dst, '{')
	first := true
	for _, f := range *o {
		if f.inside != nil && f.inside.empty() {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendText(dst, f.name), ':')
		if f.inside != nil {
			dst = f.inside.append(dst)
		} else {
			dst = append(dst, f.value...)
		}
	}
	return append(dst, '}')
}

// appendText appends s as a JSON string.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // can't fail: s is a string
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}
