package process

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// What Python 3.11, Node 20 and Java 17 print, and what becomes of it: one record, with
// the level that it says, and last words that keep the message above the trace.
func TestTraces(t *testing.T) {
	for name, c := range map[string]struct{ in, level, headline, words string }{
		"python": {
			"Traceback (most recent call last):\n  File \"/p/plugin\", line 7, in f\n    import nothere\n           ^^^^^^^\nModuleNotFoundError: No module named 'nothere'\n\n" +
				"The above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"/p/plugin\", line 9, in <module>\n    f()\nRuntimeError: x\n",
			"ERROR", "RuntimeError: x", `RuntimeError: x / ModuleNotFoundError: No module named 'nothere' / File "/p/plugin", line 9, in <module>`,
		},
		"python syntax": {
			"  File \"/p/plugin\", line 1\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n",
			"ERROR", "SyntaxError: invalid syntax", `SyntaxError: invalid syntax / File "/p/plugin", line 1`,
		},
		"python logged": {
			"WARNING:root:boom\nTraceback (most recent call last):\n  File \"/p/plugin\", line 4, in <module>\n    1/0\n    ~^~\nZeroDivisionError: division by zero\n",
			"WARN", "WARNING:root:boom", `WARNING:root:boom / ZeroDivisionError: division by zero / File "/p/plugin", line 4, in <module>`,
		},
		"node": {
			"/p/a.js:1\nfunction f(){ throw e }\n              ^\n\nError: no port\n    at f (/p/a.js:1:25)\n    at node:internal/main:28:49 {\n  code: 'EX'\n}\n\nNode.js v20.20.2\n",
			"ERROR", "Error: no port", "Error: no port / at f (/p/a.js:1:25)",
		},
		"node text": {
			"/p/c.js:1\nthrow \"text\"\n^\ntext\n(Use `node --trace-uncaught ...` to show where the exception was thrown)\n\nNode.js v20.20.2\n",
			"ERROR", "text", "text",
		},
		"node cause": {
			"TypeError: gone\n    at Object.<anonymous> (/p/b.js:1:16)\n    ... 4 lines matching cause stack trace ...\n    at node:internal:28:49 {\n  [cause]: Error: inner\n      at Object.<anonymous> (/p/b.js:1:46)\n}\n",
			"ERROR", "TypeError: gone", "TypeError: gone / at Object.<anonymous> (/p/b.js:1:16)",
		},
		"java": {
			"Exception in thread \"main\" java.lang.RuntimeException: outer\n\tat A.f(A.java:3)\n\tat A.main(A.java:4)\nCaused by: java.lang.IllegalStateException: inner\n\t... 2 more\n",
			"ERROR", `Exception in thread "main" java.lang.RuntimeException: outer`,
			`Exception in thread "main" java.lang.RuntimeException: outer / at A.f(A.java:3) / Caused by: java.lang.IllegalStateException: inner`,
		},
		"java logged": {
			"Nov 28, 2026 9:14:01 AM A main\nWARNING: caught\njava.lang.RuntimeException: outer\n\tat A.f(A.java:3)\nCaused by: java.lang.IllegalStateException: inner\n\t... 2 more\n",
			"WARN", "WARNING: caught", "WARNING: caught / java.lang.RuntimeException: outer / at A.f(A.java:3) / Caused by: java.lang.IllegalStateException: inner",
		},
		"go": {
			"panic: no\n\ngoroutine 1 [running]:\nmain.main()\n\t/p/main.go:5 +0x1d\nexit status 2\n",
			"ERROR", "panic: no", "panic: no / goroutine 1 [running]: / main.main() /  /p/main.go:5 +0x1d / exit status 2",
		},
	} {
		got, l := printed(hclog.Trace, func(l *lines) { _ = eachLine(strings.NewReader(c.in), lone(l.piped.err.line)) })
		if n := strings.Count(got, "["+c.level+"]"); n != 1 || !strings.HasPrefix(strings.TrimLeft(strings.TrimPrefix(got, "["+c.level+"]"), " "), c.headline+":") {
			t.Errorf("%s: %d records of level %s:\n%s", name, n, c.level, got)
		}
		for _, line := range strings.Split(strings.TrimSpace(c.in), "\n") {
			if words := strings.Fields(line); len(words) > 0 && !strings.Contains(got, words[len(words)-1]) && !strings.Contains(line, "9:14:01") {
				t.Errorf("%s: %q is lost:\n%s", name, line, got)
			}
		}
		if got := l.lastWords(time.Now()); got != "its last words: "+c.words {
			t.Errorf("%s: last words %q, want %q", name, got, c.words)
		}
	}
}

// What only looks like the beginning of something stays lines.
func TestNoTraces(t *testing.T) {
	for in, want := range map[string]int{
		"a\nb\nc\n":                              3,
		"a\n  more of a\nb\n":                    2,
		"INFO:root:a\nINFO:root:b\n":             2,
		"WARNING:root:a\nno.exception here\nb\n": 3,
		"/p/a.js:1\n":                            1,
	} {
		got, _ := printed(hclog.Trace, func(l *lines) { _ = eachLine(strings.NewReader(in), lone(l.piped.err.line)) })
		if n := strings.Count(got, "["); n != want {
			t.Errorf("%q: %d records, want %d:\n%s", in, n, want, got)
		}
	}
	got, _ := printed(hclog.Trace, func(l *lines) {
		_ = eachLine(strings.NewReader("list:\n  one\n  two\n"), lone(l.piped.out.line))
	})
	if n := strings.Count(got, "[INFO]"); n != 3 {
		t.Errorf("%d records of indented text on stdout:\n%s", n, got)
	}
}

// A record is bounded, and what goes on longer loses nothing.
func TestLongTrace(t *testing.T) {
	var in strings.Builder
	in.WriteString("java.lang.StackOverflowError\n")
	for i := range 3 * maxRecord {
		fmt.Fprintf(&in, "\tat A.f(A.java:%d)\n", i)
	}
	got, l := printed(hclog.Trace, func(l *lines) { _ = eachLine(strings.NewReader(in.String()), lone(l.piped.err.line)) })
	if n := strings.Count(got, "[ERROR]"); n != 4 {
		t.Errorf("%d records", n)
	}
	if n := strings.Count(got, "at A.f("); n != 3*maxRecord {
		t.Errorf("%d frames of %d", n, 3*maxRecord)
	}
	if got, want := l.lastWords(time.Now()), "its last words: java.lang.StackOverflowError / at A.f(A.java:0)"; got != want {
		t.Errorf("last words %q, want %q", got, want)
	}
}

// A line waits for more of it only for a moment.
func TestRecordIsNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &strings.Builder{}
		l := newLines(NewOutput(hclog.New(&hclog.LoggerOptions{Output: log, DisableTime: true}), 1000))
		l.piped.err.line([]byte("only one"))
		l.piped.err.mu.Lock()
		if held := l.piped.err.open.lines; len(held) != 1 {
			t.Errorf("it did not wait: %q", held)
		}
		l.piped.err.mu.Unlock()
		time.Sleep(recordIdle)
		synctest.Wait()
		if log.String() != "[WARN]  only one\n" {
			t.Errorf("%q", log)
		}
	})
}
