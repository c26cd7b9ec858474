package pluginhost

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

func printed(level hclog.Level, f func(*lines)) (log string, l *lines) {
	var out bytes.Buffer
	l = &lines{output: newOutput(hclog.New(&hclog.LoggerOptions{Output: &out, Level: level, DisableTime: true}), 1000)}
	f(l)
	return out.String(), l
}

func TestLines(t *testing.T) {
	for in, want := range map[string]string{
		`{"@level":"error","@message":"lost","@timestamp":"x","b":2,"a":"\u001b[0m"}`: "[ERROR] lost: a=\"\uFFFD[0m\" b=2\n",
		`{"@level":"debug","@message":"quiet"}`:                                       "",
		`{"@level":"off","@message":"loud"}`:                                          "[INFO]  loud\n",
		`{"@message":["no","text"]}`:                                                  "[INFO]  [\"no\",\"text\"]\n",
		`{"@message":"a\nb"}`:                                                         "[INFO]  a b\n",
		`{"@level":"info"}`:                                                           "[WARN]  {\"@level\":\"info\"}\n",
		`{"@message":"cut`:                                                            "[WARN]  {\"@message\":\"cut\n",
		"deprecated option":                                                           "[WARN]  deprecated option\n",
		"TypeError: x is not a function":                                              "[ERROR] TypeError: x is not a function\n",
		"a\xffb":                                                                      "[WARN]  a\uFFFDb\n",
		"   ":                                                                         "",
		"panic: no\n\ngoroutine 1 [running]:\nmain.main()":                            "[ERROR] panic: no\n[ERROR] goroutine 1 [running]:\n[ERROR] main.main()\n",
	} {
		got, _ := printed(hclog.Info, func(l *lines) { _ = eachLine(strings.NewReader(in), l.stderr) })
		if got != want {
			t.Errorf("%s:\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestLastWords(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"a\nb\nc\nd\ne\nf\ng":              "c / d / e / f / g",
		"before\npanic: no\n1\n2\n3\n4\n5": "panic: no / 1 / 2 / 3 / 4",
		`{"@level":"info","@message":"chat"}` + "\n" + `{"@level":"error","@message":"no port"}`:   "no port",
		`{"@level":"info","@message":"dialling"}` + "\n" + `{"@level":"debug","@message":"noise"}`: "dialling",
	} {
		_, l := printed(hclog.Off, func(l *lines) { _ = eachLine(strings.NewReader(in), l.stderr) })
		if got := l.words(); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Whatever chunks it comes in, a line is a line.
func TestLineWriter(t *testing.T) {
	in := "one\ntwo\n\n" + strings.Repeat("x", 2*maxLine+5) + "\nend\n"
	for _, chunk := range []int{1, 3, 4096, len(in)} {
		var got []string
		w := &lineWriter{f: func(b []byte) { got = append(got, string(b)) }}
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
	f.Add([]byte("panic: x\n{\"@message\":5}\n1|1|unix|/a|grpc|AAAA\n"))
	f.Add([]byte("\x00\xff\u2028\x1b[2J\r\n{\"@level\":{},\"@message\":null,\"\\u0000\":[]}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, l := printed(hclog.Trace, func(l *lines) {
			_ = eachLine(bytes.NewReader(in), l.stderr)
			_ = eachLine(bytes.NewReader(in), l.stdout)
		})
		if lines := bytes.Count(in, []byte("\n")) + 1 + len(in)/maxLine; strings.Count(got, "\n") > 2*lines {
			t.Errorf("%d lines of %q became %q", lines, in, got)
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\r\u2028") || !utf8.ValidString(l.words()) {
			t.Errorf("%q became %q", in, got)
		}
		if reason := checkHandshake(string(in)); strings.ContainsAny(reason, "\n\x00\x1b") || !utf8.ValidString(reason) {
			t.Errorf("handshake %q: %q", in, reason)
		}
	})
}
