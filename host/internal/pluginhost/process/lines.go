package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"balhost/host/internal/plain"
)

const (
	maxLine  = 16 << 10 // bytes of one line; a longer one is cut into several
	maxPairs = 32       // key-value pairs of one log line
	maxWords = 5        // lines kept as last words

	readRate = 2 << 20 // bytes a second of one of a plugin's streams, after logBurst at once
)

// eachLine calls f with every line of r, without its end, until r ends. A line
// over maxLine comes in pieces, all but the first with rest. f must not keep its
// argument.
func eachLine(r io.Reader, f func(line []byte, rest bool)) error {
	b := bufio.NewReaderSize(&slowly{r: r, pace: newPace()}, maxLine)
	for rest := false; ; {
		line, more, err := b.ReadLine()
		if err != nil {
			return err
		}
		f(line, rest)
		rest = more
	}
}

// newPace bounds what reading costs the host. A plugin that prints without end waits
// for its own pipe, as with any slow reader. What a pipe holds when the process ends
// is read in well under a second.
func newPace() *rate.Limiter { return rate.NewLimiter(readRate, logBurst) }

// slowly is a reader at that pace.
type slowly struct {
	r    io.Reader
	pace *rate.Limiter
}

func (s *slowly) Read(b []byte) (int, error) {
	n, err := s.r.Read(b[:min(len(b), logBurst)])
	_ = s.pace.WaitN(context.Background(), n) // no error: n is within the burst
	return n, err
}

// lines puts what a plugin prints into the host's log. A line of hclog's JSON keeps
// its level. Other text on stderr is a warning, and a stack trace is an error. Text on
// stdout is information. Nothing that a plugin prints can end the host or break a line
// of its log (P10).
type lines struct {
	*Output

	mu    sync.Mutex // guards what follows
	last  []string   // the last words
	chat  string     // the last line that was no trouble
	panic bool       // the rest is a Go stack trace
	trace bool       // inside a Python one
}

// stdout takes one line of standard output.
func (l *lines) stdout(line []byte) { l.plain(hclog.Info, line) }

// stderr takes one line of standard error.
func (l *lines) stderr(line []byte) {
	if level, msg, pairs, ok := parseLine(line); ok {
		switch {
		case level >= hclog.Warn:
			l.remember(msg)
		case level >= hclog.Info: // below it stands what libraries say
			l.mu.Lock()
			l.chat = msg
			l.mu.Unlock()
		}
		l.say(level, msg, pairs...)
		return
	}
	l.plain(l.severity(string(line)), line)
}

func (l *lines) plain(level hclog.Level, line []byte) {
	s := plain.Line(string(line), maxLine)
	if strings.TrimSpace(s) == "" {
		return
	}
	l.remember(s)
	l.say(level, s)
}

// severity is the level of a line of plain text.
func (l *lines) severity(s string) hclog.Level {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.panic, l.trace:
		// A Python traceback ends with the first line that isn't indented.
		l.trace = l.trace && (s == "" || s[0] == ' ' || s[0] == '\t')
		return hclog.Error
	case strings.HasPrefix(s, "panic:"), strings.HasPrefix(s, "fatal error:"), strings.HasPrefix(s, "SIG"):
		l.panic, l.last = true, nil
		return hclog.Error
	case strings.HasPrefix(s, "Traceback (most recent call last)"):
		l.trace = true
		return hclog.Error
	case strings.Contains(s, "Error"), strings.HasPrefix(s, "Exception in "):
		return hclog.Error
	}
	return hclog.Warn
}

func (l *lines) remember(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.panic && len(l.last) == maxWords {
		return // the head of a Go stack trace says more than its end
	}
	if len(l.last) == maxWords {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, s)
}

// words are the last words of the process, on one line; "" for none. If it printed no
// errors or warnings, they are the last line that it logged: it shows where it was.
func (l *lines) words() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return plain.Clip(l.chat, 400)
	}
	return plain.Clip(strings.Join(l.last, " / "), 400)
}

// parseLine reads a line of hclog's JSON. ok is false for all else.
func parseLine(line []byte) (level hclog.Level, msg string, pairs []any, ok bool) {
	if !bytes.HasPrefix(line, []byte(`{"@`)) {
		return 0, "", nil, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil || fields["@message"] == nil {
		return 0, "", nil, false
	}
	if level = hclog.LevelFromString(text(fields["@level"])); level == hclog.NoLevel || level == hclog.Off {
		level = hclog.Info
	}
	keys := make([]string, 0, len(fields))
	for key := range fields {
		if !strings.HasPrefix(key, "@") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys[:min(len(keys), maxPairs)] {
		pairs = append(pairs, plain.Line(key, 64), plain.Line(text(fields[key]), maxLine))
	}
	return level, plain.Line(text(fields["@message"]), maxLine), pairs, true
}

// text is a JSON string's content, or the JSON of any other value.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// lineWriter cuts what is written to it into lines. A Go plugin's os.Stdout and
// os.Stderr come this way, by go-plugin's stdio stream.
type lineWriter struct {
	f    func([]byte)
	pace *rate.Limiter
	rest []byte // owned by the one goroutine that writes
}

// Write never fails.
func (w *lineWriter) Write(b []byte) (int, error) {
	_ = w.pace.WaitN(context.Background(), min(len(b), logBurst))
	w.rest = append(w.rest, b...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		if end < 0 && len(w.rest) < maxLine {
			return len(b), nil
		}
		if end < 0 || end > maxLine {
			w.f(w.rest[:maxLine])
			w.rest = w.rest[maxLine:]
			continue
		}
		w.f(w.rest[:end])
		w.rest = w.rest[end+1:]
	}
}
