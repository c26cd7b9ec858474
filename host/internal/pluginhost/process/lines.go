package process

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"balhost/host/internal/plain"
)

const (
	maxLine  = 16 << 10 // bytes of one line; a longer one is cut into several
	maxPairs = 32       // key-value pairs of one log line
	maxWords = 8        // records kept as last words

	maxWordsBytes = 800 // of which the last count

	together = time.Second     // what was said within this time belongs together
	fresh    = 2 * time.Second // what was said so shortly before an end has to do with it

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

// lines puts what a plugin prints into the host's log. A line of JSON, of hclog or of
// another logger, keeps its level, and so does a line of text that says one. Other text
// on stderr is a warning, and a stack trace is one record, an error. Other text on stdout
// is information. Nothing that a plugin prints can end the host or break a line of its
// log (P10).
type lines struct {
	*Output

	piped   struct{ out, err stream } // the process's own pipes
	relayed struct{ out, err stream } // a Go plugin's os.Stdout and os.Stderr, by go-plugin's stdio stream

	mu    sync.Mutex // guards what follows
	words []word     // the last words, one for each record
	chat  word       // the last line that was no trouble
	panic bool       // words begin with a Go stack trace, which says enough
}

// word is what one record says in short, and when it was said.
type word struct {
	text string
	at   time.Time
}

func newLines(to *Output) *lines {
	l := &lines{Output: to}
	l.piped.out, l.relayed.out = stream{lines: l, level: hclog.Info}, stream{lines: l, level: hclog.Info}
	l.piped.err, l.relayed.err = stream{lines: l, level: hclog.Warn}, stream{lines: l, level: hclog.Warn}
	return l
}

// flush logs what is held back, after the end of the process.
func (l *lines) flush() {
	for _, s := range []*stream{&l.piped.out, &l.piped.err, &l.relayed.out, &l.relayed.err} {
		s.flush()
	}
	l.Output.flush()
}

// remember notes the last words.
func (l *lines) remember(r *record, level hclog.Level) {
	if r.level != hclog.NoLevel { // a logger's
		l.heard(level, r.gist())
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.kind == golang && !l.panic {
		l.panic, l.words = true, nil
	} else if l.panic {
		return
	}
	l.keep(r.gist())
}

// heard notes what a logger has said.
func (l *lines) heard(level hclog.Level, msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.panic:
	case level >= hclog.Warn:
		l.keep(plain.Clip(msg, maxGist))
	case level >= hclog.Info: // below it stands what libraries say
		l.chat = word{msg, time.Now()}
	}
}

// keep adds to the last words, with mu held.
func (l *lines) keep(s string) {
	if len(l.words) == maxWords {
		l.words = slices.Delete(l.words, 0, 1)
	}
	l.words = append(l.words, word{s, time.Now()})
}

// lastWords are those of the process, on one line; "" for none. If it printed no errors
// or warnings, they are the last line that it logged: it shows where it was. died is when
// the process died by itself, zero if it didn't: what was said long before that is shown
// with its age, since it need not be the reason.
func (l *lines) lastWords(died time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, what, text := l.chat, "it logged last", plain.Clip(l.chat.text, 400)
	if n := len(l.words); n > 0 {
		last, what, text = l.words[n-1], "its last words", joined(l.words)
	}
	if text == "" {
		return ""
	}
	if age := died.Sub(last.at); !died.IsZero() && age >= fresh {
		what += fmt.Sprintf(", %s before", age.Round(time.Second))
	}
	return what + ": " + text
}

// joined are the words that were said together with the last of them.
func joined(words []word) string {
	last := len(words) - 1
	texts, size := []string{words[last].text}, len(words[last].text)
	for i := last - 1; i >= 0; i-- {
		size += len(words[i].text)
		if size > maxWordsBytes || words[last].at.Sub(words[i].at) > together {
			break
		}
		texts = append(texts, words[i].text)
	}
	slices.Reverse(texts)
	return strings.Join(texts, " / ")
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
