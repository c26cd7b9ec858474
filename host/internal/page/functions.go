package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"balhost/host/internal/admin"
	"balhost/host/internal/entry"
	"balhost/host/internal/plain"
	"balhost/host/internal/status"
	say "balhost/host/internal/told"
)

// functions are what templates call.
func functions(f files) template.FuncMap {
	return template.FuncMap{
		"file":       f.path,
		"ago":        say.Ago,
		"until":      func(now, then time.Time) string { return say.Short(then.Sub(now)) },
		"size":       say.Size,
		"content":    say.Content,
		"count":      func(n any, one, many string) string { return say.Count(whole(n), one, many) },
		"num":        func(n any) string { return grouped(whole(n)) },
		"rate":       rateText,
		"ms":         milliseconds,
		"brief":      plain.Brief,
		"carry":      carry,
		"stamp":      say.Stamp,
		"zone":       say.Zone,
		"wall":       say.Clock,
		"machine":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock":      func(t time.Time) string { return t.Local().Format("15:04:05") },
		"millis":     func(t time.Time) string { return t.Local().Format("15:04:05.000") },
		"timeOfDay":  say.TimeOfDay,
		"sign":       func(grade string, word any) mark { return mark{grade, fmt.Sprint(word)} },
		"escape":     url.PathEscape,
		"query":      url.QueryEscape,
		"payload":    payload,
		"indented":   indented,
		"percent":    percent,
		"list":       func(all ...any) []any { return all },
		"state":      stateOf,
		"notes":      notesOf,
		"failures":   failuresOf,
		"sends":      sendsOf,
		"join":       strings.Join,
		"windowOf":   windowOf,
		"ended":      ended,
		"ofMessage":  ofMessage,
		"ofStep":     ofStep,
		"gap":        gap,
		"pair":       func(a, b any) pair { return pair{a, b} },
		"between":    func(from, to time.Time) string { return say.Short(to.Sub(from)) },
		"seconds":    func(n float64) string { return say.Short(time.Duration(n * float64(time.Second))) },
		"ofEntry":    ofEntry,
		"troublesOf": sessionNotes,
		"factsOf":    say.SessionFacts,
	}
}

// notesOf is what a person should know about a plugin, but for its failures: those have links.
func notesOf(p admin.Plugin, now time.Time) []string {
	if len(p.Troubles) > 0 {
		p.Troubles, p.LastFailureAt = nil, time.Time{}
	}
	return say.Plugin(p.Name, p.Work, p.Process, now)
}

// sessionNotes are a session's problems, but for what was not taken: those have links.
func sessionNotes(s status.Session, now time.Time) []string {
	s.Troubles = nil
	return say.SessionTroubles(s, now)
}

// whole is a whole number of any of the types that the API has.
func whole(n any) int {
	switch n := n.(type) {
	case int:
		return n
	case int64:
		return int(n)
	case uint64:
		return int(n)
	case *uint64:
		return int(*n)
	}
	panic(fmt.Sprintf("%T is no number", n)) // a template is wrong, and a test shows each
}

// grouped is a number with its thousands apart: "1,234,567".
func grouped(n int) string {
	text := fmt.Sprint(max(n, -n))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if n < 0 {
		return "-" + text
	}
	return text
}

// rateText is how many a second.
func rateText(n float64) string {
	if n > 0 && n < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return grouped(int(n + 0.5))
}

// milliseconds is a short time: "0.8 ms", "12 ms", "3.4 s".
func milliseconds(n float64) string {
	switch {
	case n < 10:
		return fmt.Sprintf("%.1f ms", n)
	case n < 1000:
		return fmt.Sprintf("%.0f ms", n)
	}
	return fmt.Sprintf("%.1f s", n/1000)
}

// percent is a part of a whole, from 0 to 100.
func percent(part, all int) int {
	if all <= 0 {
		return 0
	}
	return min(100*part/all, 100)
}

// payload is what a dead letter has, for people.
func payload(d entry.DeadLetter) string {
	switch {
	case d.Raw != nil:
		return indented(d.Raw)
	case d.RawText != "":
		return d.RawText
	}
	return fmt.Sprintf("%x", d.RawBytes)
}

// indented is JSON on several lines.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// pair gives a template two things.
type pair struct{ A, B any }
