package plain

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestNothingMovesATerminal: written text can be read, and controls no terminal.
func TestNothingMovesATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain text\twith a tab\n": "plain text\twith a tab\n",
		"Zoë, 日本, 🙂":               "Zoë, 日本, 🙂",
		"\x1b[2J":                  `\u001b[2J`,
		"\u009b2J":                 `\u009b2J`,
		"\x9b2J":                   `\ufffd2J`, // a C1 control for a terminal in Latin-1
		"a\x7fb":                   `a\u007fb`,
		"gro\u202eexe.txt":         `gro\u202eexe.txt`,
		"a\rb\bc\x00":              `a\u000db\u0008c\u0000`,
		"\u2028\u200b\ufeff\u2066": `\u2028\u200b\ufeff\u2066`,
		"\U000e0041":               `\udb40\udc41`, // a tag
		"cut \xe2\x80":             `cut \ufffd\ufffd`,
	} {
		var out strings.Builder
		if n, err := (Writer{&out}).Write([]byte(in)); n != len(in) || err != nil {
			t.Errorf("%q: %d, %v", in, n, err)
		}
		if out.String() != want {
			t.Errorf("%q became %q, want %q", in, out.String(), want)
		}
		again := Text(out.String())
		if strings.ContainsAny(again, "\n\t") {
			t.Errorf("%q is on one line no more", again)
		}
	}
	if got := Text("a\nb\tc\x1b"); got != `a\nb\tc\u001b` {
		t.Errorf("%q", got)
	}
}

// FuzzWriter: only printable text comes out, a second pass changes nothing, and JSON
// keeps its meaning.
func FuzzWriter(f *testing.F) {
	f.Add("\u009b31m\x7f\u202e\U000e0041")
	f.Fuzz(func(t *testing.T, s string) {
		var out strings.Builder
		(Writer{&out}).Write([]byte(s)) //nolint:errcheck // a Builder
		for _, r := range out.String() {
			if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
				t.Fatalf("%q lets %U through", s, r)
			}
		}
		if !utf8.ValidString(s) {
			return
		}
		var text, told strings.Builder
		e := json.NewEncoder(Writer{&text})
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal([]byte(text.String()), &back); err != nil || back != s {
			t.Fatalf("%q came back as %q: %v", s, back, err)
		}
		(Writer{&told}).Write([]byte(out.String())) //nolint:errcheck // a Builder
		if told.String() != out.String() {
			t.Fatalf("%q is escaped twice: %q", out.String(), told.String())
		}
	})
}
