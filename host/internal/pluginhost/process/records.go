package process

import (
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"balhost/host/internal/plain"
)

// Bounds of one record. What goes on longer becomes several.
const (
	maxRecord      = 200      // lines
	maxRecordBytes = 32 << 10 // and in all
	maxPreface     = 12       // lines of source that Node prints above an error
	maxGist        = 300      // bytes of a record's last words
)

// recordIdle is how long a record waits for more lines of it.
const recordIdle = 100 * time.Millisecond

// kind says what follows in a record.
type kind int

const (
	plainText kind = iota // a line; what is below it may show that it heads a trace
	dated                 // the first line of two, as Java's java.util.logging writes them
	preface               // the source line that Node prints above an error
	frames                // a stack trace of Java or Node
	python                // a traceback, before the line that says what was raised
	raised                // and after it
	golang                // a Go stack trace: all that follows
)

// record is what belongs together of what a plugin prints: a line, or a stack trace with
// the line that it is of. It is one record in the host's log.
type record struct {
	kind  kind
	level hclog.Level // NoLevel: its lines say none
	lines []string
	size  int
	head  int  // the line that says what happened
	more  bool // the record before it was full
}

// stream puts together what comes on one of a plugin's streams.
type stream struct {
	lines *lines
	level hclog.Level // of text that says none

	mu   sync.Mutex // guards what follows
	open record     // no lines: none
	rest bool       // all that follows is a Go stack trace
	idle *time.Timer
}

var (
	frame    = regexp.MustCompile(`^\s+at \S|^\s*\.\.\. \d+ (more|common|lines matching)`)
	caused   = regexp.MustCompile(`^(Caused by|\s*Suppressed): |^[{}]$|^Node\.js v\d`)
	source   = regexp.MustCompile(`^(/|node:|file:)\S*:\d+$`)
	julHead  = regexp.MustCompile(`^\p{Lu}\p{L}{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d.{0,3}[AP]M (.+)$`)
	julLevel = regexp.MustCompile(`^(` + levelWords + `): `)
	thrown   = regexp.MustCompile(`^([a-z_$][\w$]*\.)+[A-Z][\w$.]*(:|$)`) // java.lang.Error: …
	chained  = regexp.MustCompile(`^(During handling of the above exception|The above exception was the direct cause)`)
	goTrace  = regexp.MustCompile(`^(panic:|fatal error:|SIG[A-Z]+:)`)
)

const (
	traceback  = "Traceback (most recent call last)"
	pythonFile = `  File "`
)

// line takes a line.
func (s *stream) line(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if level, msg, pairs, ok := parseLine(raw); ok {
		s.end()
		s.lines.heard(level, msg)
		s.lines.say(level, msg, pairs...)
		return
	}
	text := strings.TrimRight(plain.Line(string(raw), maxLine), " ")
	if text == "" {
		return
	}
	if full := len(s.open.lines) >= maxRecord || s.open.size+len(text) > maxRecordBytes; full && s.open.takes(text, s.level) {
		next := record{kind: s.open.kind, level: s.severity(&s.open), more: true}
		s.end()
		s.open = next
	} else if !s.open.takes(text, s.level) {
		s.end()
	}
	s.add(text)
	if s.idle == nil {
		s.idle = time.AfterFunc(recordIdle, s.flush)
	} else {
		s.idle.Reset(recordIdle)
	}
}

// flush ends the record that is open.
func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

// takes reports whether a line belongs to the record that is open. usual is the level of
// the stream: an indented line on stderr belongs to the line above it.
func (r *record) takes(text string, usual hclog.Level) bool {
	indented := text[0] == ' '
	switch {
	case len(r.lines) == 0 && !r.more:
		return false
	case r.kind == golang, r.kind == python:
		return true
	case r.kind == dated && len(r.lines) == 1:
		return julLevel.MatchString(text)
	case r.kind == preface:
		return len(r.lines) < maxPreface
	case r.kind == raised:
		return indented || chained.MatchString(text) || strings.HasPrefix(text, traceback) && chained.MatchString(r.last())
	case frame.MatchString(text):
		return true
	case r.kind == frames:
		return indented || caused.MatchString(text)
	case indented:
		return usual >= hclog.Warn
	case r.level != hclog.NoLevel: // a logger's line may have what was raised below it
		return strings.HasPrefix(text, traceback) || thrown.MatchString(text)
	}
	return false
}

func (r *record) last() string {
	if len(r.lines) == 0 {
		return ""
	}
	return r.lines[len(r.lines)-1]
}

// add adds a line to the record that is open, or begins one.
func (s *stream) add(text string) {
	r := &s.open
	if len(r.lines) == 0 && !r.more {
		r.begin(text, s.rest)
		s.rest = s.rest || r.kind == golang
	} else {
		r.grow(text)
	}
	r.lines = append(r.lines, text)
	r.size += len(text)
}

func (r *record) begin(text string, rest bool) {
	switch {
	case rest || goTrace.MatchString(text):
		r.kind = golang
	case strings.HasPrefix(text, traceback), strings.HasPrefix(text, pythonFile):
		r.kind = python
	case julHead.MatchString(text):
		r.kind = dated
	case source.MatchString(text):
		r.kind = preface
	default:
		r.level = levelOf(text)
	}
}

// grow notes what a further line, which is not added yet, says of the record.
func (r *record) grow(text string) {
	at := len(r.lines)
	switch {
	case r.kind == dated && at == 1:
		r.level, r.head = levelOf(text), at
	case strings.HasPrefix(text, traceback):
		r.kind = python
	case r.kind == python && text[0] != ' ':
		r.kind = raised
		if r.level == hclog.NoLevel {
			r.head = at
		}
	case frame.MatchString(text) && r.kind <= preface:
		if r.kind == preface {
			r.head = max(0, at-1)
		}
		r.kind = frames
	case r.kind == preface && strings.HasPrefix(r.last(), "^"), r.kind == preface && strings.HasSuffix(r.last(), " ^"):
		r.head = at
	}
}

// end logs the record that is open.
func (s *stream) end() {
	r := s.open
	s.open = record{}
	if len(r.lines) == 0 {
		return
	}
	level := s.severity(&r)
	if !r.more {
		s.lines.remember(&r, level)
	}
	var pairs []any
	switch rest := r.below(); {
	case r.kind == dated && len(r.lines) > 1:
		pairs = append(pairs, "source", julHead.FindStringSubmatch(r.lines[0])[1])
		if len(rest) > 1 {
			pairs = append(pairs, "trace", strings.Join(rest[1:], "\n"))
		}
	case len(rest) > 0:
		pairs = append(pairs, "trace", strings.Join(rest, "\n"))
	}
	s.lines.say(level, r.lines[r.head], pairs...)
}

// below are the lines beside that which says what happened.
func (r *record) below() []string {
	rest := append([]string(nil), r.lines[:r.head]...)
	return append(rest, r.lines[r.head+1:]...)
}

// severity is the level of a record: its own, or an error if it is a trace or looks like
// one, or the stream's.
func (s *stream) severity(r *record) hclog.Level {
	switch {
	case r.level != hclog.NoLevel:
		return r.level
	case r.kind > preface, r.kind == preface && r.head > 0:
		return hclog.Error
	case s.level >= hclog.Warn && len(r.lines) > 0 && (strings.Contains(r.lines[0], "Error") || strings.HasPrefix(r.lines[0], "Exception in ")):
		return hclog.Error
	}
	return s.level
}

// gist is what a record says in short: what happened, where, and what caused it.
func (r *record) gist() string {
	if r.kind == golang {
		return plain.Clip(strings.Join(r.lines[:min(len(r.lines), 5)], " / "), maxGist)
	}
	said := []string{r.lines[r.head]}
	where, cause, what := "", "", ""
	for i, text := range r.lines {
		switch {
		case strings.HasPrefix(text, pythonFile): // the last is where it was raised
			where = strings.TrimSpace(text)
		case where == "" && frame.MatchString(text):
			where = strings.TrimSpace(text)
		case strings.HasPrefix(text, "Caused by: "):
			cause = text
		case i == r.head || text[0] == ' ' || strings.HasPrefix(text, traceback) || chained.MatchString(text):
		case r.kind == raised, r.kind == frames && what == "" && thrown.MatchString(text):
			what = text
		}
	}
	for _, more := range []string{what, where, cause} {
		if more != "" {
			said = append(said, more)
		}
	}
	return plain.Clip(strings.Join(said, " / "), maxGist)
}
