package admin

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"balhost/host/internal/mend"
)

// parameter is one that a query may have. Its value is checked before the handler
// sees the request, so a handler need not look for a wrong one.
type parameter struct {
	name, does string
	schema     schema // of its value, for /openapi.json
	wants      string // what a value is, for errors
	right      func(value string) bool
	role       Role // that the caller needs to give it; Anyone: that of the path
}

// schema is a JSON schema, or a part of the document that /openapi.json answers.
type schema = map[string]any

// needs is p for callers of at least that role.
func (p parameter) needs(role Role) parameter {
	p.role = role
	return p
}

// text is a parameter of any text.
func text(name, does string) parameter {
	return parameter{name: name, does: does, schema: schema{"type": "string"}, right: func(string) bool { return true }}
}

// choice is a parameter of one of a few words.
func choice(name, does string, words ...string) parameter {
	return parameter{
		name: name, does: does, schema: schema{"type": "string", "enum": words}, wants: "one of " + strings.Join(words, ", "),
		right: func(value string) bool { return slices.Contains(words, value) },
	}
}

// list is a parameter of some of a few words, with commas between them; wordsOf reads it.
func list(name, does string, words ...string) parameter {
	return parameter{
		name: name, does: does, schema: schema{"type": "array", "items": schema{"type": "string", "enum": words}}, wants: "one or more of " + strings.Join(words, ","),
		right: func(value string) bool {
			return !slices.ContainsFunc(wordsOf(value), func(word string) bool { return !slices.Contains(words, word) })
		},
	}
}

// wordsOf are those of a list.
func wordsOf(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// number is a parameter of a whole number within bounds.
func number(name, does string, least, most int64) parameter {
	return parameter{
		name: name, does: does, schema: schema{"type": "integer", "minimum": least, "maximum": most},
		wants: fmt.Sprintf("a number from %d to %d", least, most),
		right: func(value string) bool {
			n, err := strconv.ParseInt(value, 10, 64)
			return err == nil && n >= least && n <= most
		},
	}
}

// yes is a parameter that is true or false.
func yes(name, does string) parameter {
	return parameter{
		name: name, does: does, schema: schema{"type": "boolean"}, wants: "true or false",
		right: func(value string) bool { return value == "true" || value == "false" },
	}
}

// moment is a parameter of a date and time, as RFC 3339 has it.
func moment(name, does string) parameter {
	return parameter{
		name: name, does: does, schema: schema{"type": "string", "format": "date-time"}, wants: `a date such as "2026-12-24T18:00:00Z"`,
		right: func(value string) bool { _, err := time.Parse(time.RFC3339, value); return err == nil },
	}
}

// span is a parameter of a time such as "90s" or "2h".
func span(name, does string) parameter {
	return parameter{
		name: name, does: does, schema: schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}, wants: `a time such as "90s" or "2h"`,
		right: func(value string) bool { d, err := time.ParseDuration(value); return err == nil && d >= 0 },
	}
}

// limitParameter bounds a page; limitOf reads it.
var limitParameter = number("limit", "how many at most; 100 if absent", 1, maxPage)

// checkQuery reports what is wrong with a query that may have those parameters.
func checkQuery(query url.Values, known []parameter) error {
	var wrong []error
	for name, values := range query {
		i := slices.IndexFunc(known, func(p parameter) bool { return p.name == name })
		switch {
		case len(wrong) == maxWrong:
			return errors.Join(wrong...)
		case i < 0:
			wrong = append(wrong, unknownParameter(name, known))
		case len(values) > 1:
			wrong = append(wrong, fmt.Errorf("%s is in the query twice: leave one out", name))
		case !known[i].right(values[0]) && values[0] != "": // an empty value is an absent one
			wrong = append(wrong, fmt.Errorf("%s %.64q: want %s", name, values[0], known[i].wants))
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(wrong...)
}

// unknownParameter says what the query may have instead.
func unknownParameter(name string, known []parameter) error {
	if len(known) == 0 {
		return fmt.Errorf("%.64q is no parameter of this path: it takes none", name)
	}
	var names []string
	for _, p := range known {
		names = append(names, p.name)
	}
	if near := mend.Near(name, names); near != "" {
		return fmt.Errorf("%.64q is no parameter of this path: do you mean %s?", name, near)
	}
	return fmt.Errorf("%.64q is no parameter of this path: it takes %s", name, strings.Join(names, ", "))
}
