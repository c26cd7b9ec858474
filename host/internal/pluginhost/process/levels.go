package process

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/plain"
)

// levels are the words that loggers of all languages have for their levels.
var levels = map[string]hclog.Level{
	"trace": hclog.Trace, "finest": hclog.Trace, "finer": hclog.Trace,
	"debug": hclog.Debug, "fine": hclog.Debug, "config": hclog.Debug,
	"info": hclog.Info, "notice": hclog.Info,
	"warn": hclog.Warn, "warning": hclog.Warn,
	"error": hclog.Error, "severe": hclog.Error, "critical": hclog.Error, "fatal": hclog.Error,
	"10": hclog.Trace, "20": hclog.Debug, "30": hclog.Info, "40": hclog.Warn, "50": hclog.Error, "60": hclog.Error, // pino and bunyan
}

const (
	levelWords = `TRACE|FINEST|FINER|DEBUG|FINE|CONFIG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL`
	dayAndTime = `[\[(]?(?:\d{4}[-/.]\d\d[-/.]\d\d[T ]*)?\d\d:\d\d:\d\d[\d.,:+Z-]*[\])]?`
)

// levelled finds the level in a line of text: as its first word, in capitals or before a
// colon ("INFO:root:ready", "info: ready", "[WARN] slow"), or in capitals among the first
// words behind a time ("09:00:00.123 [main] INFO com.example - ready").
var levelled = regexp.MustCompile(`^(?:` +
	`[\[(<]?(` + levelWords + `)(?:[\])>:|\s]|$)` +
	`|(?i:(` + levelWords + `)):` +
	`|` + dayAndTime + `\s*(?:\S+\s+){0,4}?[\[(<]?(` + levelWords + `)(?:[\])>:|\s]|$)` +
	`)`)

// levelOf is the level that a line of text says; NoLevel: none.
func levelOf(text string) hclog.Level {
	for i, word := range levelled.FindStringSubmatch(text) {
		if i > 0 && word != "" {
			return levels[strings.ToLower(word)]
		}
	}
	return hclog.NoLevel
}

// parseLine reads a line of JSON, as hclog writes it or as other loggers do. ok is false
// for all else.
func parseLine(line []byte) (level hclog.Level, msg string, pairs []any, ok bool) {
	if !bytes.HasPrefix(line, []byte(`{`)) {
		return 0, "", nil, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return 0, "", nil, false
	}
	message := first(fields, "@message", "message", "msg")
	if message == "" {
		return 0, "", nil, false
	}
	levelKey := first(fields, "@level", "level", "severity", "levelname")
	if level = levels[strings.ToLower(text(fields[levelKey]))]; level == hclog.NoLevel {
		level = hclog.Info
	}
	keys := make([]string, 0, len(fields))
	for key := range fields {
		if !strings.HasPrefix(key, "@") && key != message && key != levelKey {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys[:min(len(keys), maxPairs)] {
		pairs = append(pairs, plain.Line(key, 64), value(text(fields[key])))
	}
	return level, plain.Line(text(fields[message]), maxLine), pairs, true
}

// value is that of a pair. One with several lines, such as a stack, keeps them: the log shows
// them below each other.
func value(s string) string {
	s = strings.TrimRight(plain.Clip(s, maxLine), "\n")
	lines := strings.SplitN(s, "\n", maxRecord)
	for i, line := range lines {
		lines[i] = plain.Line(line, maxLine)
	}
	return strings.Join(lines, "\n")
}

// first is the first of these keys that is there; "": none.
func first(fields map[string]json.RawMessage, keys ...string) string {
	for _, key := range keys {
		if fields[key] != nil {
			return key
		}
	}
	return ""
}

// text is a JSON string's content, or the JSON of any other value.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
