package page

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// A hidden field carries a name that a device, a plugin or a sender has chosen, with any bytes. As
// it is it would not come back: what can't be printed is shown escaped, and a browser changes
// line ends. So the field has the name "id.b64" and its value in base64.

// carriedEnd is what the name of such a field ends with.
const carriedEnd = ".b64"

// carry is a value for such a field.
func carry(value string) string { return base64.RawURLEncoding.EncodeToString([]byte(value)) }

// unpack puts what hidden fields carry in the place of the fields that they stand for.
func unpack(form url.Values) error {
	for field, values := range form {
		name, is := strings.CutSuffix(field, carriedEnd)
		if !is {
			continue
		}
		form[name] = nil
		for _, v := range values {
			value, err := base64.RawURLEncoding.DecodeString(v)
			if err != nil {
				return wrong("the form's field " + field + " is not as the page had it: load the page again")
			}
			form[name] = append(form[name], string(value))
		}
	}
	return nil
}

// entered is the value of a field: exactly what a hidden one carries, and without the spaces
// around what a person has typed.
func entered(form url.Values) func(name string) string {
	return func(name string) string {
		if form.Has(name + carriedEnd) {
			return form.Get(name)
		}
		return strings.TrimSpace(form.Get(name))
	}
}
