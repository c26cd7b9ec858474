// Package plain keeps what devices, plugins and CCS wrote from doing anything to
// a terminal but standing there (P10): a cursor that moves, a title that changes,
// text that runs backwards. What isn't printable is written as JSON escapes it,
// so that JSON, in which such bytes are only ever inside of strings, means the
// same after it. Everything that a command or the API writes goes through a
// [Writer]. Start there.
package plain

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Writer writes to W what is printable, with line ends and tabs, and escapes the
// rest: "\u009b". What is no UTF-8 becomes "\ufffd". A character must come in one
// Write.
type Writer struct{ W io.Writer }

func (w Writer) Write(b []byte) (int, error) {
	if harmless(b, "\n\t") {
		return w.W.Write(b)
	}
	if _, err := w.W.Write(escape(b, "\n\t")); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Text is s on one line: line ends and tabs are escaped too.
func Text(s string) string {
	if b := []byte(s); !harmless(b, "") {
		return string(escape(b, ""))
	}
	return s
}

// Brief is the beginning of a device's token or another target, on one line:
// enough to find it, too little to send to it.
func Brief(target string) string {
	const enough = 16
	if len(target) <= enough {
		return Text(target)
	}
	return Text(strings.ToValidUTF8(target[:enough], "")) + "…"
}

// harmless reports whether b is printable ASCII, and what keep has.
func harmless(b []byte, keep string) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && !in(rune(c), keep) {
			return false
		}
	}
	return true
}

func in(r rune, keep string) bool {
	for _, k := range keep {
		if r == k {
			return true
		}
	}
	return false
}

func escape(b []byte, keep string) []byte {
	out := make([]byte, 0, len(b)+len(b)/4)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1:
			out = appendUnit(out, utf8.RuneError)
		case unicode.IsPrint(r) || in(r, keep):
			out = append(out, b[:size]...)
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendUnit(appendUnit(out, high), low)
		default:
			out = appendUnit(out, r)
		}
		b = b[size:]
	}
	return out
}

// appendUnit appends one unit of UTF-16 as JSON escapes it.
func appendUnit(dst []byte, unit rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[unit>>12&15], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
}
