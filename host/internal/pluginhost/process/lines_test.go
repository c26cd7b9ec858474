package process

import (
	"bytes"
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

func printed(level hclog.Level, f func(*lines)) (log string, l *lines) {
	var out bytes.Buffer
	l = newLines(NewOutput(hclog.New(&hclog.LoggerOptions{Output: &out, Level: level, DisableTime: true}), 1000))
	f(l)
	l.flush()
	return out.String(), l
}

// lone takes pieces as lines.
func lone(f func([]byte)) func([]byte, bool) { return func(line []byte, _ bool) { f(line) } }

// A plugin that prints without end is read slowly, costs the host little, hangs
// on nothing and is heard to its last words. // P10
func TestPrintingWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		spam := []byte(strings.Repeat("spam\n", 13<<10))
		began, wrote := time.Now(), 0
		go func() {
			for time.Since(began) < 10*time.Second {
				n, _ := w.Write(spam)
				wrote += n
			}
			_, _ = io.WriteString(w, "panic: last words\n")
			w.Close()
		}()
		last := ""
		if err := eachLine(r, lone(func(line []byte) { last = string(line) })); err != io.EOF {
			t.Error(err)
		}
		took := time.Since(began)
		if least, most := 10*readRate, logBurst+11*readRate; wrote < least || wrote > most {
			t.Errorf("%d bytes were read in 10 s, want %d to %d", wrote, least, most)
		}
		if last != "panic: last words" || took > 11*time.Second {
			t.Errorf("the last word after %v is %q", took, last)
		}
	})
}

// Lines before the handshake are counted as lines, however long they are.
func TestLongPreamble(t *testing.T) {
	cert := base64.RawStdEncoding.EncodeToString(make([]byte, 60))
	long := strings.Repeat("1|", 30_000) + "\n"
	for _, c := range []struct {
		before string
		found  bool
	}{
		{strings.Repeat("x"+long, maxPreamble-1), true},
		{strings.Repeat("x\n", maxPreamble-1), true},
		{strings.Repeat("x\n", maxPreamble), false},
		{strings.Repeat("x", maxPreambleBytes+1) + "\n", false},
	} {
		var out strings.Builder
		_, l := printed(hclog.Off, func(*lines) {})
		h := &handshake{out: closer{&out}, lines: l}
		_ = eachLine(strings.NewReader(c.before+"1|2|unix|/s|grpc|"+cert+"\n"), h.line)
		if h.found.Load() != c.found || (h.flaw.Load() == nil) != c.found || (out.Len() > 0) != c.found {
			t.Errorf("%.20q…, %d bytes: found %v, flawed %v", c.before, len(c.before), h.found.Load(), h.flaw.Load() != nil)
		}
	}
}

type closer struct{ io.Writer }

func (closer) Close() error { return nil }

func TestLines(t *testing.T) {
	for in, want := range map[string]string{
		`{"@level":"error","@message":"lost","@timestamp":"x","b":2,"a":"\u001b[0m"}`: "[ERROR] lost: a=\"\uFFFD[0m\" b=2\n",
		`{"@level":"debug","@message":"quiet"}`:                                       "",
		`{"@level":"off","@message":"loud"}`:                                          "[INFO]  loud\n",
		`{"@message":["no","text"]}`:                                                  "[INFO]  [\"no\",\"text\"]\n",
		`{"@message":"a\nb"}`:                                                         "[INFO]  a b\n",
		`{"@level":"error","@message":"panicked","stack":"a\n\tb\r\n"}`:               "[ERROR] panicked:\n  stack=\n  | a\n  |  b \n  \n",
		`{"@level":"info"}`:                                                           "[WARN]  {\"@level\":\"info\"}\n",
		`{"time":"x","@level":"error","@message":"lost"}`:                             "[ERROR] lost: time=x\n",
		`{"@level":"warning","@message":"slow"}`:                                      "[WARN]  slow\n",
		`{"@level":"critical","@message":"over"}`:                                     "[ERROR] over\n",
		`{"level":30,"time":1,"msg":"pino"}`:                                          "[INFO]  pino: time=1\n",
		`{"severity":"ERROR","message":"bad"}`:                                        "[ERROR] bad\n",
		`{"some":"answer"}`:                                                           "[WARN]  {\"some\":\"answer\"}\n",
		"INFO:root:ready":                                                             "[INFO]  INFO:root:ready\n",
		"WARNING:root:slow":                                                           "[WARN]  WARNING:root:slow\n",
		"CRITICAL:app.db:over":                                                        "[ERROR] CRITICAL:app.db:over\n",
		"DEBUG:root:quiet":                                                            "",
		"2026-11-28 09:00:00,123 - root - INFO - ready":                               "[INFO]  2026-11-28 09:00:00,123 - root - INFO - ready\n",
		"09:00:00.123 [main] INFO com.example.App - ready":                            "[INFO]  09:00:00.123 [main] INFO com.example.App - ready\n",
		"info: ready":                                                                 "[INFO]  info: ready\n",
		"[ERROR] lost":                                                                "[ERROR] [ERROR] lost\n",
		"Nov 28, 2026 9:14:01 AM A main\nSEVERE: bad":                                 "[ERROR] SEVERE: bad: source=\"A main\"\n",
		"Nov 28, 2026 9:14:01\u202fAM A main\nINFO: hello\nnext":                      "[INFO]  INFO: hello: source=\"A main\"\n[WARN]  next\n",
		"Nov 28, 2026 9:14:01 AM A main\nno level":                                    "[WARN]  Nov 28, 2026 9:14:01 AM A main\n[WARN]  no level\n",
		"information is no level":                                                     "[WARN]  information is no level\n",
		`{"@message":"cut`:                                                            "[WARN]  {\"@message\":\"cut\n",
		"deprecated option":                                                           "[WARN]  deprecated option\n",
		"TypeError: x is not a function":                                              "[ERROR] TypeError: x is not a function\n",
		"a\xffb":                                                                      "[WARN]  a\uFFFDb\n",
		"   ":                                                                         "",
		"panic: no\n\ngoroutine 1 [running]:\nmain.main()":                            "[ERROR] panic: no:\n  trace=\n  | goroutine 1 [running]:\n  | main.main()\n  \n",
	} {
		got, _ := printed(hclog.Info, func(l *lines) { _ = eachLine(strings.NewReader(in), lone(l.piped.err.line)) })
		if got != want {
			t.Errorf("%s:\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestLastWords(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"a\nb\nc\nd\ne\nf\ng\nh\ni\nj":     "its last words: c / d / e / f / g / h / i / j",
		"before\npanic: no\n1\n2\n3\n4\n5": "its last words: panic: no / 1 / 2 / 3 / 4",
		`{"@level":"info","@message":"chat"}` + "\n" + `{"@level":"error","@message":"no port"}`:   "its last words: no port",
		`{"@level":"info","@message":"dialling"}` + "\n" + `{"@level":"debug","@message":"noise"}`: "it logged last: dialling",
	} {
		_, l := printed(hclog.Off, func(l *lines) { _ = eachLine(strings.NewReader(in), lone(l.piped.err.line)) })
		if got := l.lastWords(time.Now()); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A warning of an hour ago is hardly why a process died: it is shown with its age, and not
// among what was said at the end.
func TestWordsOfLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := printed(hclog.Off, func(*lines) {})
		say := func(line string) {
			l.piped.err.line([]byte(line))
			l.piped.err.flush()
		}
		expect := func(died time.Time, want string) {
			t.Helper()
			if got := l.lastWords(died); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		say(`{"@level":"info","@message":"connected"}`)
		expect(time.Now(), "it logged last: connected")
		time.Sleep(time.Minute)
		expect(time.Now(), "it logged last, 1m0s before: connected")
		say("slow query")
		time.Sleep(time.Hour)
		expect(time.Now(), "its last words, 1h0m0s before: slow query")
		expect(time.Time{}, "its last words: slow query") // it hangs: that is where it was
		say("no licence")
		time.Sleep(together / 2)
		say("giving up")
		expect(time.Now(), "its last words: no licence / giving up")
	})
}

// Whatever chunks it comes in, a line is a line.
func TestLineWriter(t *testing.T) {
	in := "one\ntwo\n\n" + strings.Repeat("x", 2*maxLine+5) + "\nend\n"
	for _, chunk := range []int{1, 3, 4096, len(in)} {
		var got []string
		w := &lineWriter{pace: newPace(), f: func(b []byte) { got = append(got, string(b)) }}
		for rest := []byte(in); len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
			if _, err := w.Write(rest[:min(chunk, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"one", "two", "", strings.Repeat("x", maxLine), strings.Repeat("x", maxLine), "xxxxx", "end"}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("in chunks of %d: %d lines, want %d", chunk, len(got), len(want))
		}
	}
}

// P10: no bytes on stderr or stdout end the host, break a log line, or make a
// handshake that go-plugin then stumbles over.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("panic: x\n{\"@message\":5}\n1|2|unix|/a|grpc|AAAA\n"))
	f.Add([]byte("\x00\xff\u2028\x1b[2J\r\n{\"@level\":{},\"@message\":null,\"\\u0000\":[]}"))
	f.Add([]byte(`{"@message":"m","stack":"a\n\n\u000ab","n":"\n"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, l := printed(hclog.Trace, func(l *lines) {
			_ = eachLine(bytes.NewReader(in), lone(l.piped.err.line))
			_ = eachLine(bytes.NewReader(in), lone(l.piped.out.line))
		})
		// It is told twice, and hclog puts three lines round a trace, which has two lines or
		// more. A field of JSON has the lines that are escaped in it.
		escaped := len(regexp.MustCompile(`\\(n|u000[aA])`).FindAll(in, -1))
		if lines := bytes.Count(in, []byte("\n")) + 1 + escaped + len(in)/maxLine; strings.Count(got, "\n") > 2*4*lines {
			t.Errorf("%d lines of %q became %q", lines, in, got)
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\r\u2028") || !utf8.ValidString(l.lastWords(time.Now())) {
			t.Errorf("%q became %q", in, got)
		}
		if reason := checkHandshake(string(in)); strings.ContainsAny(reason, "\n\x00\x1b") || !utf8.ValidString(reason) {
			t.Errorf("handshake %q: %q", in, reason)
		}
	})
}
