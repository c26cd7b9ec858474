// Package plain makes text of devices, plugins and CCS safe for a terminal (P10). Such
// text could move the cursor, change the title, or run backwards. A character that is
// not printable is written as JSON escapes it. In JSON such characters occur only
// inside of strings, so JSON keeps its meaning. Everything that a command or the API
// writes goes through a [Writer]. Start there.
package plain

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Writer writes printable characters, line ends and tabs to W unchanged. It escapes
// all others, as in "\u009b". Bytes that are not UTF-8 become "\ufffd". A character
// must not be split over two Writes.
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

// Text is s as one line. Line ends and tabs are escaped too.
func Text(s string) string {
	if b := []byte(s); !harmless(b, "") {
		return string(escape(b, ""))
	}
	return s
}

// Brief is the beginning of a token or another target, as one line. A person can find
// the target by it, but can't send to it.
func Brief(target string) string {
	if len(target) <= shown {
		return Text(target)
	}
	return Text(strings.ToValidUTF8(target[:shown], "")) + "…"
}

// shown is how many bytes of a target Brief shows.
const shown = 16

// Begins reports whether a target begins so. A beginning that is longer than what Brief
// shows begins none: else who may not see whole tokens could find them letter by letter.
func Begins(target, begin string) bool {
	return len(begin) <= shown && strings.HasPrefix(target, begin)
}

// harmless reports whether b has only printable ASCII and the characters of keep.
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
