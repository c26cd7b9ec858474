package admin

import (
	"encoding/json"
	"path"
	"reflect"
	"strings"
	"time"
)

// schemas makes JSON schemas of Go's types, as encoding/json writes and reads them. Those
// of structs are components of the document, by name.
type schemas struct {
	made  schema
	names map[reflect.Type]string
}

func newSchemas() *schemas { return &schemas{made: schema{}, names: map[reflect.Type]string{}} }

// of is the schema of an answer with the type of v. Its own lists are never null: see notNull.
func (s *schemas) of(v any) schema {
	several, ok := v.(oneOf)
	if !ok {
		return s.answer(v)
	}
	var all []schema
	for _, one := range several {
		all = append(all, s.answer(one))
	}
	return schema{"oneOf": all}
}

func (s *schemas) answer(v any) schema {
	t := reflect.TypeOf(v)
	made := s.typed(t)
	if t.Kind() != reflect.Struct {
		return made
	}
	properties := s.made[s.names[t]].(schema)["properties"].(schema)
	for name, property := range properties {
		if of, ok := property.(schema)["anyOf"].([]schema); ok && of[0]["type"] == "array" {
			properties[name] = of[0]
		}
	}
	return made
}

// body is the schema of a body with the type of v. A field that it does not have is an
// error: see decode.
func (s *schemas) body(v any) schema {
	made := s.typed(reflect.TypeOf(v))
	s.made[s.names[reflect.TypeOf(v)]].(schema)["additionalProperties"] = false
	return made
}

// typed is the schema of a type.
func (s *schemas) typed(t reflect.Type) schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return schema{} // any JSON
	case reflect.TypeFor[Points]():
		return schema{"type": "array", "items": schema{"type": []string{"number", "null"}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.typed(t.Elem())
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return schema{"type": "string", "contentEncoding": "base64"}
		}
		return schema{"type": "array", "items": s.typed(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": s.typed(t.Elem())}
	case reflect.Struct:
		return schema{"$ref": "#/components/schemas/" + s.object(t)}
	}
	return schema{}
}

// object makes a struct a component, once, and returns its name there.
func (s *schemas) object(t reflect.Type) string {
	if name, ok := s.names[t]; ok {
		return name
	}
	name := capital(t.Name())
	if _, taken := s.made[name]; taken {
		name = capital(path.Base(t.PkgPath())) + name
	}
	made := schema{"type": "object", "properties": schema{}, "required": []string{}}
	s.names[t], s.made[name] = name, made // before the fields: a type may have itself in it
	s.fields(t, made)
	return name
}

// fields adds those of a struct to the component, and those of structs in it without a name.
func (s *schemas) fields(t reflect.Type, to schema) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, to)
			continue
		case name == "-" || !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		property := s.typed(f.Type)
		may := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if !may {
			to["required"] = append(to["required"].([]string), name)
			if nullable(f.Type) {
				property = schema{"anyOf": []schema{property, {"type": "null"}}}
			}
		}
		to["properties"].(schema)[name] = property
	}
}

// nullable reports whether the zero value of a type is null in JSON.
func nullable(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[Points]():
		return false
	}
	return t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer
}
